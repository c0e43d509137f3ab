# The kind cluster: created, found again, started again after the engine was stopped under it. Sourced, not run.
# $STATE/cluster/id holds the node container that this state directory created; no other is touched.
# shellcheck shell=bash
# shellcheck disable=SC2153,SC2154 # set by the files beside this one

cluster_ensure() {
  local recorded actual state
  recorded=$(cat "$STATE/cluster/id" 2>/dev/null || true)
  actual=$(docker ps -aq --no-trunc --filter "label=io.x-k8s.kind.cluster=$CLUSTER")
  if [ -n "$actual" ] && [ "$actual" != "$recorded" ] && [ "$recorded" != creating ]; then
    fail "the Docker engine holds a kind cluster '$CLUSTER' that was not created from $STATE" \
      "if it is not needed any more: kind delete cluster --name $CLUSTER"
  fi
  if [ -n "$actual" ] && [ "$recorded" = creating ]; then
    say "  an interrupted creation is removed"
    cluster_delete
    actual=""
  fi
  if [ -z "$actual" ]; then
    cluster_create
    return
  fi
  state=$(docker inspect -f '{{.State.Status}}' "$actual")
  if [ "$state" != running ]; then
    say "  the node is $state: starting it again"
    docker start "$actual" >/dev/null || true
  fi
  if ! wait_for 180 "the Kubernetes API" cluster_answers; then
    say "  the node did not come back within 180 s: the cluster is created anew, its volumes are lost"
    cluster_delete
    cluster_create
  fi
}

cluster_create() {
  say "  creating the cluster (about 30 s)"
  ports_check
  mkdir -p "$STATE/cluster"
  echo creating >"$STATE/cluster/id"
  rm -f "$KUBECONFIG"
  docker network inspect kind >/dev/null 2>&1 || touch "$STATE/made-network"
  kind create cluster --name "$CLUSTER" --image "$node_image" --config hack/kind.yaml --kubeconfig "$KUBECONFIG" --wait 180s
  docker ps -q --no-trunc --filter "label=io.x-k8s.kind.cluster=$CLUSTER" >"$STATE/cluster/id.part"
  mv "$STATE/cluster/id.part" "$STATE/cluster/id"
  printf 'br-%.12s' "$(docker network inspect -f '{{.Id}}' kind)" >"$STATE/cluster/bridge"
}

cluster_delete() {
  kind delete cluster --name "$CLUSTER" --kubeconfig "$KUBECONFIG"
  rm -rf "$STATE/cluster" "$KUBECONFIG"
}

cluster_answers() {
  kubectl --context "$CONTEXT" --request-timeout=5s get --raw=/readyz
}

# The node and what Kubernetes itself runs. After a restart under it, pods are Unknown for a while: conditions, not phases.
cluster_ready() {
  kubectl_ensure
  wait_for 60 "the Kubernetes API" cluster_answers
  k wait --for=condition=Ready "node/$NODE" --timeout=120s
  k -n kube-system rollout status deployment/coredns --timeout=120s
  k -n local-path-storage rollout status deployment/local-path-provisioner --timeout=120s
}

k() {
  kubectl --context "$CONTEXT" "$@"
}

# Applies standard input server-side: what others own in an object stays theirs.
apply() {
  k apply --server-side --force-conflicts --field-manager=hack-up -f -
}

# with_image NAME: standard input with the tag that image_ensure found last put on tidegate/NAME.
with_image() {
  sed "s|image: tidegate/$1:.*|image: tidegate/$1:$image_tag|"
}

# namespace NAME: with the strictest pod security level enforced.
namespace() {
  apply <<NAMESPACE
apiVersion: v1
kind: Namespace
metadata:
  name: $1
  labels:
    pod-security.kubernetes.io/enforce: restricted
NAMESPACE
}

# rollout NAMESPACE WORKLOAD SECONDS: until every replica is new and Ready; tells why when it is not.
rollout() {
  if ! k -n "$1" rollout status "$2" --timeout="${3}s"; then
    k -n "$1" get pods -o wide
    k -n "$1" get events --sort-by=.lastTimestamp | tail -n 10
    k -n "$1" logs "$2" --all-containers --tail=10 || true
    return 1
  fi
}

ports_check() {
  local port taken=()
  for port in "${HOST_PORTS[@]}"; do
    if [ -n "$(ss -Hltn "sport = :$port")" ]; then
      taken+=("$port")
    fi
  done
  if [ "${#taken[@]}" -gt 0 ]; then
    fail "these ports are in use on this host: ${taken[*]}" "stop what listens there (ss -ltnp) and run it again"
  fi
}
