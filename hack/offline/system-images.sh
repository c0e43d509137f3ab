#!/usr/bin/env bash
# system-images.sh WORK LOCALKUBE COREDNS LOCAL_PATH_PROVISIONER PAUSE KUBERNETES_VERSION: writes WORK/system-images.tar, the images
# that a node of this version starts by itself, under the names that kubeadm asks for. WORK/root is the node's root.
set -euo pipefail
work=$1 localkube=$2 coredns=$3 provisioner=$4 pause=$5 version=$6
path='ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
images=$work/images
names=()

# image NAME ROOT [CHANGE...]: the folder as a one-layer image (a tar keeps the hard links of one binary under many names).
image() {
  local name=$1 root=$2 changes=(--change "$path") change
  shift 2
  for change in "$@"; do
    changes+=(--change "$change")
  done
  tar -C "$root" --owner=0 --group=0 -c . | docker import "${changes[@]}" - "$name" >/dev/null
  names+=("$name")
}

# What kubeadm wants, by the last word before the tag: name_of kube-proxy.
ln -f "$localkube" "$work/kubeadm" 2>/dev/null || cp "$localkube" "$work/kubeadm"
wanted=$("$work/kubeadm" config images list --kubernetes-version "v$version" 2>/dev/null)
name_of() {
  grep -E "/$1:" <<<"$wanted"
}

# The control plane and kube-proxy: one root for all, with the programs that kube-proxy calls and their libraries.
control=$images/control
mkdir -p "$control"/{usr/local/bin,usr/sbin,etc,tmp}
install -m 755 "$localkube" "$control/usr/local/bin/kube-apiserver"
for name in kube-controller-manager kube-scheduler kube-proxy etcd; do
  ln "$control/usr/local/bin/kube-apiserver" "$control/usr/local/bin/$name"
done
# iptables loads its matches and targets at run time, so they are listed beside the programs, each with the libraries it needs.
for file in /usr/sbin/{iptables,iptables-save,iptables-restore,ip6tables,ip6tables-save,ip6tables-restore,conntrack} \
  $(chroot "$work/root" sh -c 'echo /usr/lib/*/xtables/*.so'); do
  mkdir -p "$control$(dirname "$file")"
  cp -L "$work/root$file" "$control$file"
  chroot "$work/root" ldd "$file" | grep -oE '/[^ ]+' | while read -r library; do
    mkdir -p "$control$(dirname "$library")"
    [ -e "$control$library" ] || cp -L "$work/root$library" "$control$library"
  done
done
image "$(name_of kube-apiserver)" "$control"
for name in kube-controller-manager kube-scheduler kube-proxy etcd; do
  docker tag "$(name_of kube-apiserver)" "$(name_of "$name")"
  names+=("$(name_of "$name")")
done

install -D -m 755 "$coredns" "$images/coredns/coredns"
image "$(name_of coredns/coredns)" "$images/coredns" 'ENTRYPOINT ["/coredns"]'
install -D -m 755 "$pause" "$images/pause/pause"
image "$(name_of pause)" "$images/pause" 'ENTRYPOINT ["/pause"]'
install -D -m 755 "$provisioner" "$images/provisioner/local-path-provisioner"
mkdir -p "$images/provisioner/tmp"
image localhost/local-path-provisioner:1 "$images/provisioner"
install -D -m 755 "$work/root/bin/busybox" "$images/busybox/bin/busybox"
for name in sh mkdir rm; do
  ln -s busybox "$images/busybox/bin/$name"
done
image localhost/busybox:1 "$images/busybox"

docker save -o "$work/system-images.tar" "${names[@]}"
docker rmi "${names[@]}" >/dev/null
