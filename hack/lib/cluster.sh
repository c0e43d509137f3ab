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
  source_images
  if [ "$(docker inspect -f '{{.Config.Image}}' "$actual")" != "$node_image" ]; then
    say "  note: the node was made from an older image; hack/down and hack/up take the new one"
  fi
  [ -s "$KUBECONFIG" ] || kind export kubeconfig --name "$CLUSTER" --kubeconfig "$KUBECONFIG"
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
  source_images
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

# The node and what Kubernetes itself runs.
cluster_ready() {
  kubectl_ensure
  wait_for 60 "the Kubernetes API" cluster_answers
  wait_for 180 "the pods to run again" statuses_fresh
  wait_for 120 "the node to be Ready" k wait --for=condition=Ready "node/$NODE" --timeout=1s
  workload kube-system deployment/coredns 120
  workload local-path-storage deployment/local-path-provisioner 120
}

# After a restart of the node the API still tells what was before it: pods that are Ready, and do not run. Until no container claims
# to run since before the node does, nothing that a condition says can be believed.
statuses_fresh() {
  local started
  started=$(docker inspect -f '{{.State.StartedAt}}' "$NODE")
  k get pods -A -o json | jq -e --arg started "${started%%.*}Z" '[.items[].status.containerStatuses[]?.state.running.startedAt
    | select(. != null and . < $started)] == []'
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

# workload NAMESPACE KIND/NAME SECONDS: until every replica is new and Ready; tells why when it is not.
workload() {
  if ! wait_for "$3" "$1/$2" workload_ready "$1" "$2"; then
    k -n "$1" get pods -o wide
    k -n "$1" get events --sort-by=.lastTimestamp | tail -n 10
    k -n "$1" logs "$2" --all-containers --tail=10 || true
    return 1
  fi
}

# What the controller counted, and the pods themselves: after a restart the controllers are behind for a while.
workload_ready() {
  local object selector replicas
  object=$(k -n "$1" get "$2" -o json)
  replicas=$(jq -er '.spec.replicas as $n | .status | select(.updatedReplicas == $n and .readyReplicas == $n and .replicas == $n) | $n' \
    <<<"$object") || return 1
  jq -e '.status.observedGeneration == .metadata.generation' <<<"$object" || return 1
  selector=$(jq -r '.spec.selector.matchLabels | to_entries | map("\(.key)=\(.value)") | join(",")' <<<"$object")
  k -n "$1" get pods -l "$selector" -o json | jq -e --argjson replicas "$replicas" '[.items[]
    | select(.metadata.deletionTimestamp == null and any(.status.conditions[]?; .type == "Ready" and .status == "True"))]
    | length == $replicas'
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
