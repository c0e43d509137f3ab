# Prometheus and Alertmanager on the cluster. Sourced, not run.
# shellcheck shell=bash
# shellcheck disable=SC2154 # set by the files beside this one

# The rules are collected by the operator's own binary: the image that is installed.
monitoring_ensure() {
  local operator
  operator=$(helm get values tidegate --kube-context "$CONTEXT" --namespace tidegate-system -o json | jq -er .image.tag)
  image_ensure monitoring images/monitoring "echo images/monitoring"
  namespace monitoring
  k kustomize deploy/monitoring | with_image monitoring | sed "s|image: tidegate/operator:.*|image: tidegate/operator:$operator|" | apply
}

monitoring_ready() {
  workload monitoring deployment/alertmanager 60
  workload monitoring deployment/prometheus 120
  wait_for 60 "Prometheus to have the operator's rules" rules_loaded
}

# Those of the chart, and those of a pipeline where there is one.
rules_loaded() {
  local groups
  groups=$(curl -sf --max-time 5 http://127.0.0.1:30090/api/v1/rules | jq -r '.data.groups[].name')
  grep -qx tidegate/cluster <<<"$groups" || return 1
  [ -z "$(k get eventpipelines -A -o name)" ] || grep -q '^tidegate/.*/' <<<"$groups"
}
