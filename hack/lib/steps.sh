# The steps of hack/up, in order: what each is called, what it says, what it does. Sourced, not run.
# shellcheck shell=bash

step_tools() { step tools "Tools" tools_ensure; }
step_engine() { step engine "Docker engine" engine_ensure; }
step_images() { step images "Node image and base image" source_images; }
step_cluster() {
  step cluster "Kubernetes cluster '$CLUSTER' (kind)" cluster_ensure
  step cluster-ready "Node and system pods Ready" cluster_ready
}

step_secrets() { step secrets "Certificate authority and passwords" secrets_ensure; }
step_kafka() {
  step kafka "Kafka" kafka_ensure
  step kafka-ready "Kafka: three brokers Ready" kafka_ready
}
step_postgres() {
  step postgres "PostgreSQL" postgres_ensure
  step postgres-ready "PostgreSQL Ready" postgres_ready
}
step_users() { step users "Kafka: users and access rights" users_ensure; }
step_crds() { step crds "Custom resource definitions" crds_ensure; }
step_operator() {
  step binaries "Operator and services: compiling" binaries_ensure
  step operator "Operator" operator_ensure
  step operator-ready "Operator Ready" operator_ready
}
step_examples() { step examples "Images of the examples" examples_ensure; }
step_pipelines() {
  step pipelines "The wallet: topics and pipeline" pipelines_ensure
  step pipelines-ready "The wallet Ready" pipelines_ready
}
step_monitoring() {
  step monitoring "Prometheus and Alertmanager" monitoring_ensure
  step monitoring-ready "Prometheus and Alertmanager Ready" monitoring_ready
}
step_demo() {
  step demo "Main job: wallets, deposits, transfers" demo_run
  step demo-show "What there is to see" demo_show
}
