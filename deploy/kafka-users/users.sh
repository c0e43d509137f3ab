#!/bin/sh
# Users and what each may do. Saying it again changes nothing.
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

# The wallet: what docs/reference/secrets.md says that its user needs.
user wallet
may wallet --topic wallet-events --operation Read --operation Write --operation Describe
# A retry topic is private to the group and the topic of its name. Delete: what was tried again with success is trimmed.
may wallet --topic ledger-projector.wallet-events.retry --topic read-model-projector.wallet-events.retry \
  --operation Read --operation Write --operation Describe --operation Delete
may wallet --topic wallet-events-dlq --operation Write --operation Describe
may wallet --group ledger-projector --group ledger-projector.retry --group read-model-projector --group read-model-projector.retry \
  --operation Read --operation Describe
# A record is parked or given up in one transaction with its group's offset, under an id that begins with the group.
may wallet --transactional-id ledger-projector. --transactional-id read-model-projector. --resource-pattern-type prefixed \
  --operation Write --operation Describe
# The relay: a group for its position and a transactional id a shard, all of which begin with this.
may wallet --group kafka-publisher --resource-pattern-type prefixed --operation Read --operation Describe
may wallet --transactional-id kafka-publisher --resource-pattern-type prefixed --operation Write --operation Describe
