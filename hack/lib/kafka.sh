# Kafka on the cluster: image, Secrets, brokers. Sourced, not run.
# shellcheck shell=bash

kafka_ensure() {
  image_ensure kafka images/kafka kafka_context
  namespace kafka
  secret kafka kafka-admin "password=$SECRETS/kafka-admin"
  secret kafka kafka-tls "keystore.pem=$SECRETS/kafka.pem" "ca.crt=$SECRETS/ca.crt"
  apply deploy/kafka -e "s|image: tidegate/kafka:.*|image: tidegate/kafka:$image_tag|"
}

kafka_ready() {
  rollout kafka statefulset/kafka 240
}

# The image's sources and the jars of its pom. Maven runs here, not in the build: it needs this host's proxies and authorities.
kafka_context() {
  local context
  context=$(scratch kafka)
  cp images/kafka/* "$context/"
  mvn -B -q -f "$context/pom.xml" -Dmaven.repo.local="$CACHE/maven" dependency:copy-dependencies -DoutputDirectory="$context/libs" >&2
  echo "$context"
}
