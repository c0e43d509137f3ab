#!/bin/sh
# The operator's user and what it may do; those of pipelines are made by the operator. Saying it again changes nothing.
set -eu
umask 077

# user NAME: may log in, with the password of the mounted Secret, by either mechanism.
user() {
  for mechanism in SCRAM-SHA-512 SCRAM-SHA-256; do
    # One at a time: Kafka takes one credential of a user in a request. By file, as a command line can be seen.
    printf '%s=password=%s\n' "$mechanism" "$(cat "/etc/kafka-users/$1")" >/tmp/credentials
    kafka-tool configs --alter --entity-type users --entity-name "$1" --add-config-file /tmp/credentials
  done
  rm -f /tmp/credentials
}

# may NAME ARGUMENT...: a rule of kafka-acls.
may() {
  principal=$1
  shift
  kafka-tool acls --add --allow-principal "User:$principal" "$@"
}

# The operator: what its chart says that its user needs. It administers topics and looks at groups. Read is for lag: only who
# may fetch can tell a backlog from the marker that ended a transaction. Alter on the cluster is for the users of pipelines and
# their ACLs; whoever has it could grant itself the rest. Groups are read and deleted from by replays, which set the offsets of groups
# that stand still; topics are written, in transactions of its own, by redrives.
user tidegate-operator
may tidegate-operator --topic '*' --operation Create --operation Describe --operation DescribeConfigs \
  --operation Alter --operation AlterConfigs --operation Delete --operation Read --operation Write
may tidegate-operator --group '*' --operation Describe --operation Read --operation Delete
may tidegate-operator --transactional-id tidegate-redrive. --resource-pattern-type prefixed --operation Write --operation Describe
may tidegate-operator --cluster --operation Describe --operation DescribeConfigs --operation Alter
