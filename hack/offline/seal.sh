#!/usr/bin/env bash
# seal.sh ROOT ARCHIVE: imports the archive's images into the containerd of the node's root, by running that containerd in it.
# Run in mount and process namespaces of its own: nothing that it mounts or starts outlives it.
set -euo pipefail
root=$1 archive=$2

mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
touch "$root/tmp/images.tar"
mount --bind "$archive" "$root/tmp/images.tar"

chroot "$root" /usr/local/bin/containerd &
containerd=$!
for _ in $(seq 120); do
  if chroot "$root" ctr version >/dev/null 2>&1; then
    break
  fi
  sleep 0.5
done
chroot "$root" ctr -n k8s.io images import /tmp/images.tar
chroot "$root" ctr -n k8s.io images ls -q
kill "$containerd"
wait "$containerd" || true
