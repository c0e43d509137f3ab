# Stage integration: each crate's tests/ against the Kafka and PostgreSQL of hack/up. Sourced by hack/test.
# shellcheck shell=bash

stage_integration() {
  local filter=$1 targets
  check "rust is there" need_rust || return 1
  need_rust >/dev/null
  need_cluster || return 1
  mapfile -t targets < <(test_targets integration)
  if [ "${#targets[@]}" -eq 0 ]; then
    failed "no integration test was found"
    return 1
  fi
  # Four at once, on however many processors: they wait for sessions and transactions to time out more than they work.
  # shellcheck disable=SC2086 # an absent filter is no argument
  cargo_tests "integration tests" env RUST_BACKTRACE=0 RUST_TEST_THREADS=4 cargo test --locked --workspace "${targets[@]}" --no-fail-fast -- $filter
}
