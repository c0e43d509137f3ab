# Where things live, what they are called, and which versions are used. Sourced first; everything else reads these.
# shellcheck shell=bash
# shellcheck disable=SC2034 # read by the files that source this one

CACHE=${TIDEGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate}   # what can be built again: tools, images, cargo
STATE=${TIDEGATE_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/tidegate} # what belongs to this one cluster; gone after hack/down
LOGS=$STATE/log
SECRETS=$STATE/secrets
ENGINE=$STATE/engine

CLUSTER=tidegate
NODE=$CLUSTER-control-plane
CONTEXT=kind-$CLUSTER
export KUBECONFIG=$STATE/kubeconfig

KUBERNETES_VERSION=1.34.4
KIND_VERSION=v0.30.0
HELM_VERSION=v3.18.6
COREDNS_VERSION=v1.12.1
LOCAL_PATH_PROVISIONER_VERSION=v0.0.30
KAFKA_VERSION=4.3.1
POSTGRES_VERSION=15
DEBIAN_RELEASE=bookworm

# The images that are pulled where a container registry answers (TIDEGATE_OFFLINE=1 or 0 decides instead of a try).
REGISTRY_NODE_IMAGE=${TIDEGATE_NODE_IMAGE:-kindest/node:v1.34.0}
REGISTRY_BASE_IMAGE=${TIDEGATE_BASE_IMAGE:-debian:$DEBIAN_RELEASE-slim}

# Ports published on 127.0.0.1 (hack/kind.yaml says what each is for).
HOST_PORTS=(30092 30093 30094 30095 30432 30379 30080 30081 30082 30083 30084 30085 30086 30090 30091)
DISK_NEEDED_GIB=20

# What hack/up and hack/test put into the two folders; hack/down removes these and nothing else that may be there.
STATE_ENTRIES=(engine cluster secrets log test python-consumer offline made-network kubeconfig lock)
CACHE_ENTRIES=(bin tools go cargo debs maven offline images tmp lock)
