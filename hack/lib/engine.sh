# The Docker engine: the one that answers, or Debian's, started by us with everything it keeps under $ENGINE. Sourced, not run.
# shellcheck shell=bash

engine_socket=$ENGINE/docker.sock

engine_is_ours() {
  [ -d "$ENGINE/data" ]
}

engine_answers() {
  timeout 15 docker info >/dev/null 2>&1
}

# Points docker and kind at the engine that this state directory belongs to.
engine_select() {
  if engine_is_ours; then
    export DOCKER_HOST=unix://$engine_socket
    unset DOCKER_CONTEXT
    # Debian's engine has the classic builder only as far as our runtime wrapper is concerned: BuildKit calls runc itself.
    export DOCKER_BUILDKIT=0
  fi
}

engine_ensure() {
  engine_select
  if command -v docker >/dev/null && engine_answers; then
    return
  fi
  if ! engine_is_ours && [ -f "$STATE/cluster/id" ]; then
    fail "the Docker engine that holds the cluster does not answer" \
      "start it again, or give the cluster up with hack/down"
  fi
  if ! command -v dockerd >/dev/null; then
    say "  no Docker engine answers: installing Debian's"
    install_packages docker.io
    if engine_answers; then
      return # Debian's package started it as a system service
    fi
  fi
  engine_start
}

engine_start() {
  local arguments
  mkdir -p "$ENGINE/data" "$ENGINE/exec"
  chmod 700 "$ENGINE"
  engine_select
  engine_forget_dead
  echo '{}' >"$ENGINE/daemon.json"
  arguments=(
    --config-file "$ENGINE/daemon.json" --data-root "$ENGINE/data" --exec-root "$ENGINE/exec"
    --pidfile "$ENGINE/dockerd.pid" --host "$DOCKER_HOST" --bridge none --iptables=false
  )
  if lacks_sys_resource; then
    install -m 755 hack/offline/runc-without-sys-resource "$ENGINE/runc-without-sys-resource"
    arguments+=(--add-runtime "reduced=$ENGINE/runc-without-sys-resource" --default-runtime reduced)
  fi
  # A session of its own and no descriptor of this shell (the lock among them): it outlives whoever ran hack/up.
  setsid nohup dockerd "${arguments[@]}" </dev/null >"$ENGINE/dockerd.log" 2>&1 3>&- 4>&- 8>&- 9>&- &
  engine_pid=$!
  if ! wait_for 90 "the Docker engine" engine_started || ! engine_answers; then
    tail -n 15 "$ENGINE/dockerd.log" | cut -c1-220 >&4
    fail "Debian's Docker engine did not start (log above and in $ENGINE/dockerd.log)" \
      "start an engine of your own so that 'docker info' answers, or mend what the log says, and run it again"
  fi
}

# Either way: it answers, or it has ended and there is nothing to wait for.
engine_started() {
  engine_answers || ! kill -0 "$engine_pid"
}

# After a crash or a kill the process ids on file may belong to others: dockerd would refuse to start, or wait for a containerd
# that is not there.
engine_forget_dead() {
  local file
  for file in "$ENGINE/dockerd.pid" "$ENGINE/exec/containerd/containerd.pid"; do
    if [ -f "$file" ] && ! engine_process_alive "$(cat "$file")"; then
      rm -f "$file"
    fi
  done
  rm -f "$engine_socket"
}

# A live dockerd or containerd whose command line names our folder.
engine_process_alive() {
  [ -n "$1" ] && [ -r "/proc/$1/cmdline" ] && tr '\0' ' ' <"/proc/$1/cmdline" | grep -qF "$ENGINE/"
}

# Every process of our engine: dockerd, containerd and shims name our folder on their command line.
engine_processes() {
  local folder
  for folder in /proc/[0-9]*; do
    if tr '\0' ' ' 2>/dev/null <"$folder/cmdline" | grep -qE "^[^ ]*(dockerd|containerd|containerd-shim[^ ]*) .*$ENGINE/"; then
      echo "${folder#/proc/}"
    fi
  done
}

# What runs in our node's container, which outlives a killed shim: known by the container's id in its control group.
node_processes() {
  local id
  id=$(cat "$STATE/cluster/id" 2>/dev/null || true)
  if [ "${#id}" -eq 64 ]; then
    grep -lF "$id" /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3 || true
  fi
}

engine_gone() {
  [ -z "$(engine_processes)" ]
}

engine_stop() {
  local pid
  pid=$(cat "$ENGINE/dockerd.pid" 2>/dev/null || true)
  if engine_process_alive "$pid"; then
    kill "$pid"
    wait_for 60 "the Docker engine to stop" engine_gone || true
  fi
  for pid in $(engine_processes) $(node_processes); do
    kill -9 "$pid" 2>/dev/null || true
  done
  engine_unmount
  engine_unlink
  node_forget_groups
}

# The control groups of a node that was killed: nobody else removes them.
node_forget_groups() {
  local id
  id=$(cat "$STATE/cluster/id" 2>/dev/null || true)
  if [ "${#id}" -eq 64 ]; then
    find /sys/fs/cgroup -depth -type d -path "*/$id*" -exec rmdir {} + 2>/dev/null || true
  fi
}

# The bridge of kind's network, when the engine was not there to remove it.
engine_unlink() {
  local bridge
  bridge=$(cat "$STATE/cluster/bridge" 2>/dev/null || true)
  if [ -n "$bridge" ] && ip link show "$bridge" >/dev/null 2>&1; then
    ip link delete "$bridge"
  fi
}

# What killed processes left mounted below our folder, deepest first.
engine_unmount() {
  local place
  awk -v root="$STATE/" 'index($2, root) == 1 { print $2 }' /proc/mounts | sort -r | while read -r place; do
    umount "$place" 2>/dev/null || umount -l "$place"
  done
}

# CAP_SYS_RESOURCE is bit 24. Without it in the bounding set, runc cannot start a privileged container.
lacks_sys_resource() {
  local bounding
  bounding=$(awk '/^CapBnd:/ { print $2 }' /proc/self/status)
  [ $(((16#$bounding >> 24) & 1)) -eq 0 ]
}
