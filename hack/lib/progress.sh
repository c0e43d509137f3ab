# Progress lines with elapsed time, step logs, and failures that say what to do. Sourced, not run.
# Steps write their output to $LOGS/<step>.log; people read file descriptor 3.
# shellcheck shell=bash

shopt -s inherit_errexit
exec 3>&1 4>&2
current_step=""
explained=""

elapsed() {
  printf '%3dm%02ds' $((SECONDS / 60)) $((SECONDS % 60))
}

# say TEXT: one progress line.
say() {
  printf '[%s] %s\n' "$(elapsed)" "$*" >&3
}

# fail WHAT REMEDY: ends the run with both sentences.
fail() {
  printf '\n%s: %s\n' "$(basename "$0")" "$1" >&4
  printf '  -> %s\n' "$2" >&4
  explained=yes
  exit 1
}

# step NAME TEXT COMMAND...: runs COMMAND in this shell with its output in the step's log. The time is printed when it took any.
step() {
  local name=$1 text=$2 started=$SECONDS
  shift 2
  current_step=$name
  mkdir -p "$LOGS"
  say "$text"
  "$@" >"$LOGS/$name.log" 2>&1
  if [ $((SECONDS - started)) -ge 5 ]; then
    say "  done in $((SECONDS - started)) s"
  fi
  current_step=""
}

# The EXIT trap: a step that failed without a sentence of its own shows its last lines.
report_exit() {
  local status=$?
  if [ "$status" -ne 0 ] && [ -z "$explained" ] && [ -n "$current_step" ]; then
    {
      printf '\n%s: the step "%s" failed. The last lines of %s:\n\n' "$(basename "$0")" "$current_step" "$LOGS/$current_step.log"
      grep -v '^[[:space:]]*$' "$LOGS/$current_step.log" 2>/dev/null | tail -n 15 | cut -c1-220 | sed 's/^/    /'
      printf '\n  -> mend what they say and run it again: what is done is kept, an interrupted step starts over\n'
    } >&4
  fi
  exit "$status"
}
trap report_exit EXIT
trap 'explained=yes; printf "\n%s: interrupted; run it again to go on from here\n" "$(basename "$0")" >&4; exit 130' INT TERM

# wait_for SECONDS WHAT COMMAND...: until COMMAND succeeds; a line every 15 s; fails when the time is over.
wait_for() {
  local limit=$1 what=$2 started=$SECONDS next=15
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ $((SECONDS - started)) -ge "$limit" ]; then
      echo "waited $limit s for $what in vain"
      return 1
    fi
    if [ $((SECONDS - started)) -ge "$next" ]; then
      say "  still waiting for $what ($((SECONDS - started)) of at most $limit s)"
      next=$((next + 15))
    fi
    sleep 0.5
  done
}

# digest FILE...: a short content hash over names and contents of files and folders (sorted), for keys and image tags.
digest() {
  local path
  for path in "$@"; do
    if [ -d "$path" ]; then
      (cd "$path" && find . -type f -print0 | sort -z | xargs -0 -r sha256sum)
    else
      sha256sum <"$path"
    fi
  done | sha256sum | cut -c1-12
}

# digest_text TEXT...: the same for strings.
digest_text() {
  printf '%s\n' "$@" | sha256sum | cut -c1-12
}

# One hack/up or hack/down at a time. Descriptor 9 holds the lock as long as this shell lives.
take_lock() {
  exec 9>"$STATE/lock"
  if ! flock -n 9; then
    say "another hack/up or hack/down is at work: waiting for it to end (30 min at most)"
    flock -w 1800 9 || fail "another hack/up or hack/down is still at work on $STATE" "look what it waits for; fuser $STATE/lock names it"
  fi
}

# One at a time puts things into the cache, which several clusters may share: lock_cache, look again, make, unlock_cache.
lock_cache() {
  exec 8>"$CACHE/lock"
  if ! flock -n 8; then
    say "  another run is making something for the cache: waiting for it"
    flock 8
  fi
}

unlock_cache() {
  exec 8>&-
}

# remove_entries FOLDER NAME...: these entries of the folder, and the folder itself if nothing else is in it.
remove_entries() {
  local folder=$1 name
  shift
  for name in "$@"; do
    # Go's module cache is read-only.
    [ ! -d "$folder/$name" ] || find "$folder/$name" -xdev -type d ! -perm -u+w -exec chmod u+w {} +
    rm -rf --one-file-system "${folder:?}/$name"
  done
  rmdir --ignore-fail-on-non-empty "$folder"
}

# scratch NAME: an empty folder on the cache's file system, so that a finished result is moved into place in one rename.
scratch() {
  local folder=$CACHE/tmp/$1
  rm -rf --one-file-system "$folder"
  mkdir -p "$folder"
  printf '%s\n' "$folder"
}
