#!/bin/sh
# Starts one combined broker and controller. The password comes from a mounted Secret and is never on a command line.
set -eu
umask 077
id=${POD_NAME##*-}
cd /tmp

{
  printf 's|@ID@|%s|g\n' "$id"
  printf 's|@HOST@|%s.kafka.kafka.svc.cluster.local|g\n' "$POD_NAME"
  printf 's|@EXTERNAL_PORT@|%s|g\n' "$((30093 + id))"
  printf 's|@PASSWORD@|%s|g\n' "$(cat /etc/kafka-admin/password)"
} | sed -f - /etc/kafka/server.properties >server.properties

log4j=-Dlog4j2.configurationFile=/etc/kafka/log4j2.properties
if [ ! -f /var/lib/kafka/log/meta.properties ]; then
  # The format tool reads its arguments, one a line, from a file that is named after an @.
  {
    printf 'format\n--cluster-id\n%s\n--config\n/tmp/server.properties\n' "$CLUSTER_ID"
    for mechanism in SCRAM-SHA-512 SCRAM-SHA-256; do
      printf -- '--add-scram\n%s=[name=admin,password=%s]\n' "$mechanism" "$(cat /etc/kafka-admin/password)"
    done
  } >format
  java -Xmx128m -XX:TieredStopAtLevel=1 "$log4j" kafka.tools.StorageTool @/tmp/format
  rm -f format
fi
# Addresses of pods change: names are looked up again soon.
# shellcheck disable=SC2086 # several options
exec java $KAFKA_JVM_OPTIONS "$log4j" -Dsun.net.inetaddr.ttl=5 -Dsun.net.inetaddr.negative.ttl=1 kafka.Kafka /tmp/server.properties
