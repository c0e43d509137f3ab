#!/usr/bin/env bash
# node-root.sh TARGET RELEASE PACKAGES_CACHE KIND_SOURCE LOCALKUBE KUBERNETES_VERSION: the root of the node image. Debian's packages
# where kind's own image has its builds, kind's files from its module, and one binary under every Kubernetes component's name.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=hack/offline/debian-root.sh
. "$here/debian-root.sh"
root=$1 kind_files=$4/images/base/files localkube=$5 kubernetes_version=$6

debian_root "$root" "$2" "$3" systemd conntrack iptables nftables iproute2 ethtool util-linux mount kmod libseccomp2 pigz bash \
  ca-certificates curl jq procps containerd runc containernetworking-plugins hostname socat ebtables busybox-static

# kind's part (see images/base/Dockerfile of its sources).
install -D -m 755 "$kind_files/usr/local/bin/entrypoint" "$root/usr/local/bin/entrypoint"
mkdir -p "$root/kind/bin" "$root/kind/manifests"
install -m 755 "$kind_files"/kind/bin/* "$root/kind/bin/"
cp -r --no-preserve=mode,ownership "$kind_files/etc/." "$root/etc/"
echo "v$kubernetes_version" >"$root/kind/version"
touch "$root/kind/product_name" "$root/kind/product_uuid"
cp "$here"/manifests/* "$root/kind/manifests/"

# Binaries, at the places where kind's units look for them.
install -D -m 755 "$localkube" "$root/usr/bin/kubeadm"
for name in kubelet kubectl; do
  ln -f "$root/usr/bin/kubeadm" "$root/usr/bin/$name"
done
for name in containerd ctr containerd-shim-runc-v2; do
  ln -sf "/usr/bin/$name" "$root/usr/local/bin/$name"
done
ln -sf /usr/sbin/runc "$root/usr/local/sbin/runc"
mkdir -p "$root/opt/cni/bin" "$root/etc/cni/net.d" "$root/etc/kubernetes/manifests" "$root/var/lib/containerd" "$root/var/log"
cp -a "$root/usr/lib/cni/." "$root/opt/cni/bin/"
cp "$here/cni.conflist" "$root/etc/cni/net.d/10-bridge.conflist"

# containerd: the pause image that kubeadm of this version lists, and no lowering of OOM scores, which a host may forbid.
ln -sf kubeadm "$root/tmp/kubeadm" && cp --remove-destination "$localkube" "$root/tmp/kubeadm"
sandbox=$("$root/tmp/kubeadm" config images list --kubernetes-version "v$kubernetes_version" 2>/dev/null | grep '/pause:')
rm -f "$root/tmp/kubeadm"
sed -i -e 's|restrict_oom_score_adj = false|restrict_oom_score_adj = true|' -e "s|sandbox_image = .*|sandbox_image = \"$sandbox\"|" \
  "$root/etc/containerd/config.toml"
sed -i '/OOMScoreAdjust/d' "$root/etc/systemd/system/containerd.service"

# systemd in a container: nothing but what the node needs.
chroot "$root" /bin/sh -euc '
  rm -f /lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service \
    /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* /lib/systemd/system/local-fs.target.wants/* \
    /lib/systemd/system/sockets.target.wants/*udev* /lib/systemd/system/sockets.target.wants/*initctl* \
    /lib/systemd/system/basic.target.wants/*
  echo ReadKMsg=no >>/etc/systemd/journald.conf
  ln -sf /lib/systemd/systemd /sbin/init
  systemctl enable kubelet.service containerd.service undo-mount-hacks.service
  systemctl mask systemd-binfmt.service
  # Resource limits are left to the host: where CAP_SYS_RESOURCE is missing they cannot be raised.
  ctr oci spec | jq ".hooks.createContainer += [{\"path\": \"/kind/bin/mount-product-files.sh\"}] | del(.process.rlimits)" \
    >/etc/containerd/cri-base.json
'
