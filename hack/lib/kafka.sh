# Kafka on the cluster: image, Secrets, brokers, users. Sourced, not run.
# shellcheck shell=bash

kafka_ensure() {
  image_ensure kafka images/kafka kafka_context
  namespace kafka
  secret kafka kafka-admin --from-file=password="$SECRETS/kafka-admin" --from-file=client.properties=<(kafka_admin_properties)
  secret kafka kafka-tls --from-file=keystore.pem="$SECRETS/kafka.pem" --from-file=ca.crt="$SECRETS/ca.crt"
  k kustomize deploy/kafka | with_image kafka | apply
}

kafka_ready() {
  workload kafka statefulset/kafka 240
}

# The image's sources and the jars of its pom. Maven runs here, not in the build: it needs this host's proxies and authorities.
kafka_context() {
  local context
  context=$(scratch kafka)
  cp images/kafka/* "$context/"
  mvn -B -q -f "$context/pom.xml" -Dmaven.repo.local="$CACHE/maven" dependency:copy-dependencies -DoutputDirectory="$context/libs" >&2
  echo "$context"
}

# What Kafka's own tools need inside a pod.
kafka_admin_properties() {
  cat <<PROPERTIES
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="$(cat "$SECRETS/kafka-admin")";
ssl.truststore.type=PEM
ssl.truststore.location=/etc/kafka-tls/ca.crt
PROPERTIES
}

# The Job's name carries a hash of everything that goes into it: it is there and complete, or it has yet to run.
users_ensure() {
  local rendered job
  image_ensure kafka images/kafka kafka_context
  rendered=$(k kustomize deploy/kafka-users | with_image kafka)
  job=kafka-users-$(digest_text "$rendered" "$(digest "$SECRETS/kafka-tidegate-operator")")
  if [ "$(k -n kafka get job "$job" -o jsonpath='{.status.succeeded}' 2>/dev/null || true)" = 1 ]; then
    return
  fi
  k -n kafka delete job -l app.kubernetes.io/name=kafka-users --wait=true
  secret kafka kafka-users --from-file=tidegate-operator="$SECRETS/kafka-tidegate-operator"
  # shellcheck disable=SC2001 # anchored to lines
  sed "s|^  name: kafka-users\$|  name: $job|" <<<"$rendered" | apply
  wait_for 180 "the Job kafka/$job" job_finished kafka "$job"
  if [ "$(k -n kafka get job "$job" -o jsonpath='{.status.succeeded}')" != 1 ]; then
    k -n kafka logs "job/$job" --tail=20
    return 1
  fi
}

job_finished() {
  k -n "$1" get job "$2" -o jsonpath='{.status.conditions[?(@.status=="True")].type}' | grep -qE 'Complete|Failed'
}

# kafka_binding NAMESPACE SECRET USER: how a pod reaches Kafka as USER, under the keys of the Service Binding specification.
kafka_binding() {
  secret "$1" "$2" --from-literal=bootstrap-servers=kafka-bootstrap.kafka.svc.cluster.local:9092 \
    --from-literal=security-protocol=SASL_SSL --from-literal=sasl-mechanism=SCRAM-SHA-512 \
    --from-literal=username="$3" --from-file=password="$SECRETS/kafka-$3" --from-file=ca.crt="$SECRETS/ca.crt"
}
