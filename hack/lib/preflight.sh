# What hack/up needs, checked before it begins: preflight STEP... Sourced, not run.
# shellcheck shell=bash
# shellcheck disable=SC2154 # set by the files beside this one

preflight() {
  local free place
  case $(uname -s)/$(uname -m) in
    Linux/x86_64) ;;
    *) fail "hack/up runs on Linux on x86_64 (this is $(uname -sm))" "use a Linux machine or a virtual one" ;;
  esac
  mkdir -p "$CACHE" "$STATE" "$LOGS"
  chmod 700 "$STATE"
  if [ "${#engine_socket}" -gt 100 ]; then
    fail "the path of the state directory is too long for a socket: $STATE" "set TIDEGATE_STATE to a shorter one"
  fi
  if [ "$(id -u)" -ne 0 ] && ! engine_answers; then
    fail "no Docker engine answers, and starting one takes root" "start Docker so that 'docker info' works, or run it as root"
  fi
  if [ ! -f "$STATE/cluster/id" ]; then
    for place in "$CACHE" "$STATE"; do
      free=$(($(df --output=avail -k "$place" | tail -n 1) / 1024 / 1024))
      if [ "$free" -lt "$DISK_NEEDED_GIB" ]; then
        fail "$place has $free GiB free, $DISK_NEEDED_GIB are needed" "free some, or set TIDEGATE_CACHE and TIDEGATE_STATE to another disk"
      fi
    done
    case " $* " in
      *" cluster "*) ports_check ;;
    esac
  fi
}
