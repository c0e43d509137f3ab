# Stage e2e: the stories of verify/tests/e2e on the cluster of hack/up, one at a time. Sourced by hack/test.
# shellcheck shell=bash

stage_e2e() {
  local filter=$1
  check "rust is there" need_rust || return 1
  need_rust >/dev/null
  need_cluster || return 1
  # The whole workspace, as in the other stages: cargo chooses the features of dependencies by what is built at once.
  # Stories break brokers and operators on purpose: two at once would explain each other's failures.
  # shellcheck disable=SC2086 # an absent filter is no argument
  cargo_tests "stories" env RUST_BACKTRACE=0 cargo test --locked --workspace --test e2e -- --test-threads=1 $filter
}
