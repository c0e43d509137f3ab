# The node image and the base image where no container registry can be reached: assembled from Debian's packages and from Go
# modules. Only this folder knows how; the rest of hack/ gets two image names. Sourced, not run.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the images' names are for the files that source this one

# Sets base_image.
offline_base_image() {
  local key
  key=$(digest_text "$(digest hack/offline/debian-root.sh hack/offline/base-root.sh)" "$DEBIAN_RELEASE")
  base_image=tidegate/base:$key
  offline_image "$base_image" "$CACHE/offline/base-$key.tar.zst" offline_assemble_base
}

# Sets node_image.
offline_node_image() {
  local key reduced=no
  if lacks_sys_resource; then
    reduced=yes
  fi
  key=$(digest_text "$(cd hack/offline && digest localkube pause manifests cni.conflist runc-without-sys-resource \
    debian-root.sh node-root.sh system-images.sh seal.sh)" "$DEBIAN_RELEASE" "$KUBERNETES_VERSION" "$KIND_VERSION" "$COREDNS_VERSION" \
    "$LOCAL_PATH_PROVISIONER_VERSION" "$reduced")
  node_image=tidegate/node:$key
  offline_image "$node_image" "$CACHE/offline/node-$key.tar.zst" offline_assemble_node
}

# offline_image NAME ARCHIVE ASSEMBLE: the engine has it, or it is imported from the cached root, or that is assembled first.
offline_image() {
  local name=$1 archive=$2 assemble=$3
  if docker image inspect "$name" >/dev/null 2>&1; then
    return
  fi
  lock_cache
  if [ ! -f "$archive" ]; then
    mkdir -p "$CACHE/offline"
    "$assemble" "$archive.part"
    mv "$archive.part" "$archive"
  fi
  unlock_cache
  say "  importing $name"
  zstd -dcq "$archive" | docker import --change 'ENV container=docker' \
    --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' - "$name-raw" >/dev/null
  if [ "$assemble" = offline_assemble_node ]; then
    # systemd stops on this signal; docker import cannot set it.
    printf 'FROM %s\nSTOPSIGNAL SIGRTMIN+3\n' "$name-raw" | docker build -q -t "$name" - >/dev/null
  else
    printf 'FROM %s\nENTRYPOINT []\nCMD ["/bin/sh"]\nENV container=\n' "$name-raw" | docker build -q -t "$name" - >/dev/null
  fi
  docker rmi "$name-raw" >/dev/null
}

offline_assemble_base() {
  local work
  offline_tools
  say "  assembling the base image from Debian's packages (about 1 min)"
  work=$(scratch base)
  isolated hack/offline/base-root.sh "$work/root" "$DEBIAN_RELEASE" "$CACHE/debs"
  tar -C "$work/root" --one-file-system -c . | zstd -q -1 -T0 -f -o "$1"
  rm -rf --one-file-system "$work"
}

offline_assemble_node() {
  local work
  offline_tools
  offline_binaries
  work=$(scratch node)
  say "  assembling the node image (about 2 min): Debian's packages"
  isolated hack/offline/node-root.sh "$work/root" "$DEBIAN_RELEASE" "$CACHE/debs" "$kind_source" "$localkube" "$KUBERNETES_VERSION"
  if lacks_sys_resource; then
    install -m 755 hack/offline/runc-without-sys-resource "$work/root/usr/local/sbin/runc-without-sys-resource"
    sed -i 's|^\( *\)SystemdCgroup = true|&\n\1BinaryName = "/usr/local/sbin/runc-without-sys-resource"|' \
      "$work/root/etc/containerd/config.toml"
  fi
  say "  assembling the node image: the control plane's images"
  hack/offline/system-images.sh "$work" "$localkube" "$coredns" "$local_path_provisioner" "$pause" "$KUBERNETES_VERSION"
  isolated hack/offline/seal.sh "$work/root" "$work/system-images.tar"
  say "  assembling the node image: packing it"
  tar -C "$work/root" --one-file-system -c . | zstd -q -1 -T0 -f -o "$1"
  rm -rf --one-file-system "$work"
}

offline_tools() {
  if ! command -v apt-get >/dev/null; then
    fail "without a container registry the images are assembled from Debian's packages, which takes a Debian host" \
      "make a registry reachable (TIDEGATE_NODE_IMAGE and TIDEGATE_BASE_IMAGE name the images to pull) or use Debian"
  fi
  command -v debootstrap >/dev/null || install_packages debootstrap
}

# Builds what the node image holds beside Debian's packages; sets kind_source, localkube, coredns, local_path_provisioner, pause.
offline_binaries() {
  local version=v$KUBERNETES_VERSION flags key
  need_go
  kind_source=$(go mod download -json "sigs.k8s.io/kind@$KIND_VERSION" | jq -r .Dir)
  flags="-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1"
  flags+=" -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")"
  flags+=" -X k8s.io/client-go/pkg/version.gitVersion=$version"
  key=$(digest hack/offline/localkube hack/offline/pause)
  localkube=$CACHE/tools/localkube-$version-$key/localkube
  pause=$CACHE/tools/localkube-$version-$key/pause
  if [ ! -x "$localkube" ]; then
    say "  building Kubernetes $version from Go modules (once; about 6 min)"
    (cd hack/offline/localkube && go build -mod=readonly -ldflags "$flags" -o "$localkube.part" .)
    (cd hack/offline/pause && go build -ldflags "-s -w" -o "$pause" .)
    mv "$localkube.part" "$localkube"
  fi
  go_tool coredns "$COREDNS_VERSION" github.com/coredns/coredns
  coredns=$CACHE/tools/coredns-$COREDNS_VERSION/coredns
  go_tool local-path-provisioner "$LOCAL_PATH_PROVISIONER_VERSION" github.com/rancher/local-path-provisioner
  local_path_provisioner=$CACHE/tools/local-path-provisioner-$LOCAL_PATH_PROVISIONER_VERSION/local-path-provisioner
}

# Runs a command in mount and process namespaces of its own: whatever it mounts or starts ends with it, even when it is killed.
isolated() {
  unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$@"
}
