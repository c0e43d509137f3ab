# The main job: money over HTTP, events on Kafka, projections that agree; then what a person wants to see. Sourced, not run.
# Every request carries the same Idempotency-Key in every run: run again, it moves nothing and gives the same answers.
# shellcheck shell=bash

WALLET=http://127.0.0.1:30080

demo_run() {
  local name
  for name in till savings tips; do
    post "open-$name" /wallets "{\"walletId\": \"demo-$name\", \"ownerId\": \"demo\", \"currency\": \"EUR\"}" 201
  done
  post deposit-till /wallets/demo-till/deposits '{"amount": "120.00", "reference": "takings of the day"}' 201
  post deposit-tips /wallets/demo-tips/deposits '{"amount": "7.50", "reference": "tips"}' 201
  post save-takings /transfers '{"from": "demo-till", "to": "demo-savings", "amount": "80.00"}' 201
  post save-tips /transfers '{"from": "demo-tips", "to": "demo-savings", "amount": "2.50"}' 201
  post withdraw-till /wallets/demo-till/withdrawals '{"amount": "15.25", "reference": "change"}' 201
  post too-much /wallets/demo-tips/withdrawals '{"amount": "1000.00"}' 422
  wait_for 60 "both projections to catch up" projections_agree
}

# post KEY PATH BODY STATUS: the answer must have this status. The brokers' loss or a rollout may interrupt: asked again under its key.
post() {
  local key=$1 path=$2 body=$3 wanted=$4 status attempt
  for attempt in 1 2 3 4 5; do
    status=$(curl -s --max-time 10 -o "$LOGS/demo-answer.json" -w '%{http_code}' -H 'Content-Type: application/json' \
      -H "Idempotency-Key: demo-$key" --data "$body" "$WALLET$path" || true)
    if [ "$status" = "$wanted" ]; then
      return
    fi
    echo "attempt $attempt: POST $path answered $status: $(cat "$LOGS/demo-answer.json")"
    sleep 1
  done
  fail "POST $path answered $status, not $wanted: $(cat "$LOGS/demo-answer.json")" \
    "see the wallet's log: kubectl -n wallet logs -l tidegate.dev/processor=commands"
}

# Every wallet's ledger and read model are as far as its event stream.
projections_agree() {
  [ "$(wallet_sql 'SELECT count(*) FROM wallet_state s LEFT JOIN ledger_watermarks l USING (wallet_id)
    LEFT JOIN wallet_read_model r USING (wallet_id)
    WHERE l.version IS DISTINCT FROM s.version OR r.version IS DISTINCT FROM s.version')" = 0 ]
}

wallet_sql() {
  k -n postgres exec postgres-0 -- psql -X -d wallet -A -t -c "$1"
}

demo_show() {
  {
    echo
    k get kafkatopics,eventpipelines -A
    echo
    echo "The ledger of demo-savings (GET /wallets/demo-savings/ledger):"
    curl -sf --max-time 10 "$WALLET/wallets/demo-savings/ledger" |
      jq -r '.items[] | [.version, .eventType, .amount, .balance, .currency] | @tsv' | column -t -s $'\t' | sed 's/^/  /'
    echo "Balances:"
    for name in till savings tips; do
      curl -sf --max-time 10 "$WALLET/wallets/demo-$name" | jq -r '"  \(.walletId)  \(.balance) \(.currency)  version \(.version)"'
    done
    echo "On the topic wallet-events: $(topic_records wallet-events) records, markers of transactions included"
    echo "Lag, in records:"
    k -n wallet get eventpipeline wallet -o json |
      jq -r '.status.processors[]? | select(.group) | "  \(.group)  \(.lagRecords)"' | column -t | sed 's/^/  /'
    cat <<'NEXT'

Try next:
  eval "$(hack/env)"                                          # kubectl, Kafka, PostgreSQL and the wallet from this shell
  curl -s $TIDEGATE_WALLET_URL/wallets/demo-till/events | jq  # what happened, from the event store
  kubectl -n kafka exec kafka-0 -- kafka-tool topics --describe --topic wallet-events
  kubectl -n kafka exec kafka-0 -- kafka-tool configs --alter --entity-type topics --entity-name wallet-events \
    --add-config retention.ms=86400000                        # behind the operator's back: reverted within a minute,
  kubectl -n wallet get events                                # and told here
  hack/load wallet --wallets 1000 --operations 20000 --workers 20
  hack/test                                                   # every check, on this cluster
  hack/down                                                   # removes it
NEXT
  } >&3
}

# The sum of a topic's end offsets.
topic_records() {
  k -n kafka exec kafka-0 -- kafka-tool offsets --topic "$1" | awk -F: '{ records += $3 } END { print records + 0 }'
}
