# Tidegate itself: its binaries as images, its charts, and the wallet that runs on it. Sourced, not run.
# shellcheck shell=bash
# shellcheck disable=SC2153 # set by the files beside this one

SERVICES=(wallet)

# Compiles here, once for every image: cargo's cache makes an unchanged build a matter of a second.
binaries_ensure() {
  local packages=(-p tidegate-operator) service
  for service in "${SERVICES[@]}"; do
    packages+=(-p "tidegate-$service")
  done
  cargo_folder "$CACHE/cargo/release" release
  cargo build --release --locked "${packages[@]}"
}

# binary_image NAME: tidegate/NAME from the binary tidegate-NAME; sets image_tag.
binary_image() {
  local context=$CACHE/images/context/$1
  mkdir -p "$context"
  cp images/rust/Dockerfile "$CACHE/cargo/release/release/tidegate-$1" "$context/"
  image_ensure "$1" "$context" "echo $context" --target host --build-arg "BINARY=tidegate-$1"
}

crds_ensure() {
  helm upgrade --install --take-ownership tidegate-crds charts/tidegate-crds --kube-context "$CONTEXT" --namespace tidegate-system --create-namespace
  k wait --for=condition=Established crd/kafkatopics.tidegate.dev crd/eventpipelines.tidegate.dev --timeout=60s
}

operator_ensure() {
  local service arguments=()
  namespace tidegate-system
  kafka_binding tidegate-system kafka-main tidegate-operator
  binary_image operator
  arguments+=(--set-string "image.tag=$image_tag")
  for service in "${SERVICES[@]}"; do
    binary_image "$service"
    arguments+=(--set-string "images.$service.tag=$image_tag")
  done
  helm upgrade --install --take-ownership tidegate charts/tidegate --kube-context "$CONTEXT" --namespace tidegate-system \
    --set connections.main.secretName=kafka-main "${arguments[@]}"
}

operator_ready() {
  workload tidegate-system deployment/tidegate 180
}

pipelines_ensure() {
  apply <deploy/overlays/local/namespace.yaml
  database_binding wallet wallet-db wallet
  k kustomize deploy/overlays/local | apply
}

pipelines_ready() {
  local service
  condition wallet kafkatopic 120
  for service in "${SERVICES[@]}"; do
    wait_for 120 "$service's pods to be those of the installed version" runs_installed "$service"
  done
  condition wallet eventpipeline 240
  wait_for 60 "the wallet's HTTP API" curl -sf --max-time 2 http://127.0.0.1:30080/readyz
}

# A new operator has yet to roll the pods whose image it brings: until it has, a pipeline that is Ready is the old one.
runs_installed() {
  local tag
  tag=$(helm get values tidegate --kube-context "$CONTEXT" --namespace tidegate-system -o json | jq -r ".images.$1.tag")
  k -n "$1" get deployments -l "app.kubernetes.io/name=$1" -o json | jq -e --arg image "tidegate/$1:$tag" '(.items | length) > 0
    and all(.items[]; .spec.template.spec.containers[0].image == $image and .status.observedGeneration == .metadata.generation
      and .status.updatedReplicas == .spec.replicas and .status.readyReplicas == .spec.replicas and .status.replicas == .spec.replicas)'
}

# condition NAMESPACE KIND SECONDS: until each resource of the kind is Ready for its newest generation; tells why one is not.
condition() {
  if ! wait_for "$3" "every $2 to be Ready" all_ready "$1" "$2"; then
    k -n "$1" get "$2" -o json | jq -r '.items[] | .metadata.name as $name
      | .status.conditions[]? | "\($name): \(.type)=\(.status) \(.reason) \(.message)"'
    k -n "$1" get pods
    k -n "$1" get events --sort-by=.lastTimestamp | tail -n 10
    return 1
  fi
}

all_ready() {
  k -n "$1" get "$2" -o json | jq -e '(.items | length) > 0 and all(.items[];
    .status.observedGeneration == .metadata.generation and any(.status.conditions[]?; .type == "Ready" and .status == "True"))'
}
