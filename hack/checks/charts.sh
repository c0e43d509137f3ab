# Stage charts: what Helm and kustomize render is what the API takes. Sourced by hack/test.
# shellcheck shell=bash

# API group versions that our manifests use; one that is missing here fails as a missing schema.
API_GROUPS=(api/v1 apis/apps/v1 apis/policy/v1 apis/rbac.authorization.k8s.io/v1 apis/apiextensions.k8s.io/v1 apis/batch/v1
  apis/coordination.k8s.io/v1 apis/networking.k8s.io/v1 apis/tidegate.dev/v1alpha1)

stage_charts() {
  need_cluster || return 1 # hack/up brings Helm and kubectl too
  check "tools are there" need_chart_tools || return 1
  need_chart_tools >/dev/null
  schemas=${run_logs:?}/schemas
  rendered=$run_logs/rendered
  rm -rf "$schemas" "$rendered"
  mkdir -p "$schemas" "$rendered"
  check "schemas of the running API" write_schemas || return 1
  kubernetes_version=$(kubectl version -o json | jq -r .serverVersion.gitVersion)

  check "a field that the API does not know is refused" refuses_unknown_field

  local chart folder
  for chart in charts/*/; do
    chart=$(basename "$chart")
    check "helm lint $chart" helm lint --strict --quiet "charts/$chart"
    check "chart $chart" render_chart "$chart"
  done
  check "chart tidegate, every value set" render_chart tidegate --namespace elsewhere --values hack/checks/tidegate-values.yaml
  for folder in deploy/*/ deploy/overlays/*/; do
    folder=${folder%/}
    [ ! -f "$folder/kustomization.yaml" ] || check "kustomize $folder" render_folder "$folder"
  done
  check "examples" conforms docs/examples
  check "deploy/pipelines and the chart's snapshots are what the chart makes" hack/render --check
  check "chart tidegate-pipelines, every set of values" conforms hack/checks/pipelines/rendered

  # shellcheck source=hack/checks/rules.sh
  . hack/checks/rules.sh
  if check "promtool is there" need_promtool; then
    need_promtool
    check "chart tidegate beside the Prometheus operator" rules_of_the_chart
  fi

  refusal "a replica count below one" replicas --set replicas=0
  refusal "a value that no key is called" replica --set replica=3
  refusal "no Kafka connection" connections --set-json 'connections=null'
  refusal "a connection without its Secret" secretName --set-json 'connections.other={}'
  refusal "a duration without a unit" driftInterval --set-string driftInterval=60
  refusal "an address of runbooks without a place for the name" runbookUrl --set monitoring.runbookUrl=https://runbooks.example
  refusal "a pull policy that Kubernetes does not know" pullPolicy --set image.pullPolicy=Sometimes

  pipelines_refusal "a field that no processor has" replcas --set pipelines.wallet.processors.commands.replcas=2
  pipelines_refusal "a role that the wallet does not have" Commands --set pipelines.wallet.processors.commands.run.wallet.role=Command
  pipelines_refusal "a span without a unit" retention --set-string pipelines.wallet.processors.ledger-projector.deadLetter.retention=30
  pipelines_refusal "a processor's name in capitals" Ledger --set-json 'pipelines.wallet.processors.Ledger={"run":{"wallet":{"role":"Publisher"}}}'
  pipelines_refusal "a processor without a program" run --set-json 'pipelines.wallet.processors.more={"replicas":1}'
  pipelines_refusal "a topic of no partitions" partitions --set topics.wallet-events.partitions=0
  pipelines_refusal "a value that no key is called" topic --set topic.orders.partitions=3
}

need_chart_tools() {
  need jq jq && need kubectl kubernetes-client && need helm helm && need_kubeconform
}

write_schemas() {
  local group file
  for group in "${API_GROUPS[@]}"; do
    file=$schemas/api-${group//\//_}.json
    kubectl get --raw "/openapi/v3/$group" | jq -f hack/checks/strict-schema.jq >"$file" || return 1
    jq -r '.components.schemas | to_entries[] | .key as $name | .value["x-kubernetes-group-version-kind"] // [] | .[]
        | [([.kind, ((.group // "") | split(".")[0] // ""), .version] | map(select(. != "")) | join("-") | ascii_downcase), $name] | @tsv' "$file" |
      while IFS=$'\t' read -r kind name; do
        printf '{"$ref": "%s#/components/schemas/%s"}\n' "$(basename "$file")" "$name" >"$schemas/$kind.json"
      done
  done
  echo "$(find "$schemas" -name '*.json' | wc -l) schemas"
}

# render_chart CHART ARGUMENTS...
render_chart() {
  local chart=$1 file
  shift
  file=$rendered/chart-$chart-$#.yaml
  helm template tidegate "charts/$chart" --kube-version "$kubernetes_version" --namespace tidegate-system "$@" >"$file" && conforms "$file"
}

# Where the API serves the kinds of the Prometheus operator, whose schemas are not here: the rules are what promtool takes, with the
# release's severities and address of runbooks in them, and the operator is scraped with its own labels.
rules_of_the_chart() {
  local served=monitoring.coreos.com/v1 file=$rendered/prometheus-rule.yaml
  helm template tidegate charts/tidegate --kube-version "$kubernetes_version" --api-versions $served/PrometheusRule --api-versions $served/PodMonitor \
    --set monitoring.dashboards=false,monitoring.severity=critical --set 'monitoring.runbookUrl=https://runbooks.example/{alert}.md' \
    --show-only templates/monitoring.yaml >"$file" || return 1
  grep -q 'honorLabels: true' "$file" && grep -q 'runbooks.example/OfflinePartitions.md' "$file" && ! grep -q 'severity: page' "$file" || return 1
  awk '/^kind:/ { rules = ($2 == "PrometheusRule") } /^---/ { spec = 0 } spec && rules { print substr($0, 3) } /^spec:/ { spec = 1 }' "$file" >"$file.rules"
  promtool check rules "$file.rules"
}

render_folder() {
  local file=$rendered/${1//\//_}.yaml
  kubectl kustomize "$1" >"$file" && conforms "$file"
}

conforms() {
  [ -d "$1" ] || [ -s "$1" ] || { echo "$1 is empty"; return 1; }
  kubeconform -strict -summary -schema-location "$schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$1"
}

# The checks above prove nothing unless what is wrong fails them.
refuses_unknown_field() {
  echo '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "right"}, "data": {"a": "b"}}' >"$rendered/right.yaml"
  sed 's/"data"/"dota"/' "$rendered/right.yaml" >"$rendered/wrong.yaml"
  conforms "$rendered/right.yaml" && ! conforms "$rendered/wrong.yaml"
}

# refusal WHAT WORD ARGUMENTS...: the values schema of the chart tidegate refuses the arguments, and its message has the word.
refusal() {
  local what=$1
  shift
  check "the chart refuses $what" refused tidegate "$@"
}

# pipelines_refusal WHAT WORD ARGUMENTS...: the same of the chart tidegate-pipelines.
pipelines_refusal() {
  local what=$1
  shift
  check "the pipelines' chart refuses $what" refused tidegate-pipelines "$@"
}

refused() {
  local chart=$1 word=$2 said
  shift 2
  if said=$(helm template tidegate "charts/$chart" --kube-version "$kubernetes_version" "$@" 2>&1 >/dev/null); then
    echo "it was taken: $*"
    return 1
  fi
  grep -iF -- "$word" <<<"$said" || { echo "refused, but not for \"$word\": $said"; return 1; }
}
