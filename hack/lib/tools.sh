# Programs that hack/up needs: from the machine if recent enough, from Debian's packages, or built from Go modules. Sourced, not run.
# shellcheck shell=bash

mkdir -p "$CACHE/bin"
export PATH=$CACHE/bin:$PATH:/usr/local/go/bin:$HOME/.cargo/bin:/usr/sbin:/sbin

# install_packages PACKAGE...: with apt, where that is Debian's way and we may.
install_packages() {
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    fail "these programs are missing and cannot be installed from here: $*" "install them and run it again"
  fi
  say "  installing from Debian: $*"
  if ! DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
  fi
}

# version_at_least HAVE WANTED, both like 1.2.3 or v1.2.3.
version_at_least() {
  [ "$(printf '%s\n%s\n' "${2#v}" "${1#v}" | sort -V | head -n 1)" = "${2#v}" ]
}

# Go builds keep their modules and objects in the cache directory, without cgo: what they build runs in any root.
need_go() {
  export GOMODCACHE=$CACHE/go/mod GOCACHE=$CACHE/go/build CGO_ENABLED=0 GOFLAGS=-buildvcs=false
  local have
  have=$(go env GOVERSION 2>/dev/null || true)
  if ! version_at_least "${have#go}" 1.24; then
    fail "Go 1.24 or later is missing (found: ${have:-none})" \
      "install it from go.dev, or have kind and helm on the PATH and a container registry within reach"
  fi
}

# go_tool NAME VERSION PACKAGE: builds $CACHE/tools/NAME-VERSION/NAME once.
go_tool() {
  local name=$1 version=$2 package=$3 folder=$CACHE/tools/$1-$2
  if [ ! -x "$folder/$name" ]; then
    need_go
    say "  building $name $version (once)"
    rm -rf "$CACHE/tmp/$name"
    mkdir -p "$CACHE/tmp/$name" "$folder"
    GOBIN=$CACHE/tmp/$name go install -ldflags "-s -w" "$package@$version"
    mv "$CACHE/tmp/$name/$name" "$folder/$name"
  fi
}

# own_tool NAME PATH: what we built, put on the PATH of this run.
own_tool() {
  ln -sfn "$2" "$CACHE/bin/$1"
}

tools_ensure() {
  local missing=() program package
  while read -r program package; do
    command -v "$program" >/dev/null || missing+=("$package")
  done <<'PROGRAMS'
jq jq
openssl openssl
curl curl
tar tar
zstd zstd
flock util-linux
ss iproute2
ip iproute2
unshare util-linux
cc gcc
c++ g++
make make
perl perl
pkg-config pkg-config
mvn maven
python3 python3
pip3 python3-pip
PROGRAMS
  if [ "${#missing[@]}" -gt 0 ]; then
    install_packages "${missing[@]}"
  fi
  if ! command -v cargo >/dev/null; then
    fail "cargo is missing" "install Rust from rustup.rs (rust-toolchain.toml names the version) and run it again"
  fi
  if ! version_at_least "$(kind version 2>/dev/null | awk '{ print $2 }')" "$KIND_VERSION"; then
    go_tool kind "$KIND_VERSION" sigs.k8s.io/kind
    own_tool kind "$CACHE/tools/kind-$KIND_VERSION/kind"
  fi
  if ! version_at_least "$(helm version --template '{{.Version}}' 2>/dev/null)" v3.17.0; then
    go_tool helm "$HELM_VERSION" helm.sh/helm/v3/cmd/helm
    own_tool helm "$CACHE/tools/helm-$HELM_VERSION/helm"
  fi
}

# kubectl: the user's own if it fits the cluster, else the node's.
kubectl_ensure() {
  if ! version_at_least "$(kubectl version --client -o json 2>/dev/null | jq -r .clientVersion.gitVersion)" v1.32.0; then
    mkdir -p "$CACHE/tools/kubectl-$KUBERNETES_VERSION"
    docker cp "$NODE:/usr/bin/kubectl" "$CACHE/tools/kubectl-$KUBERNETES_VERSION/kubectl"
    own_tool kubectl "$CACHE/tools/kubectl-$KUBERNETES_VERSION/kubectl"
  fi
}
