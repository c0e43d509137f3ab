# Stage unit: what can be known without a cluster. Sourced by hack/test.
# shellcheck shell=bash

# Advisories need a database that is fetched from the network, so they are left to a scheduled `cargo deny check advisories`.
AUDITED="licenses bans sources"

stage_unit() {
  local filter=$1 targets
  check "rust is there" need_rust || return 1
  need_rust >/dev/null # again in this shell: it may extend PATH
  mapfile -t targets < <(test_targets unit)

  if [ -z "$filter" ]; then
    check "format" cargo fmt --all --check
    check "clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
  fi
  # shellcheck disable=SC2086 # an absent filter is no argument
  cargo_tests "unit tests" env RUST_BACKTRACE=0 cargo test --locked --workspace --lib --bins "${targets[@]}" --no-fail-fast -- $filter
  [ -z "$filter" ] || return 0

  check "shellcheck" shell_scripts
  check "links in the documentation" links_lead_somewhere
  # shellcheck source=hack/checks/rules.sh
  . hack/checks/rules.sh
  if check "promtool is there" need_promtool; then
    need_promtool
    check "alerting rules" rules_hold
    check "dashboards" dashboards_hold
  fi
  if check "cargo-deny is there" need_cargo_deny; then
    need_cargo_deny
    # shellcheck disable=SC2086 # a list of words
    check "dependencies fetched" cargo fetch --quiet --locked # those of other platforms too: the audit reads them all
    check "dependencies: $AUDITED" cargo deny --offline --locked --all-features check --hide-inclusion-graph $AUDITED
  fi
}

shell_scripts() {
  need shellcheck shellcheck || return 1
  local scripts parts
  mapfile -t scripts < <(grep -rlE '^#!/.*\b(ba|da)?sh\b' hack .ci deploy images charts 2>/dev/null | sort)
  mapfile -t parts < <(grep -rlE '^# shellcheck shell=' hack deploy images 2>/dev/null | sort)
  echo "${#scripts[@]} scripts and ${#parts[@]} files that they source"
  shellcheck --external-sources --severity=warning "${scripts[@]}" || return 1
  # A part's variables come from and go to the other parts, which are read one at a time.
  shellcheck --external-sources --severity=warning --exclude=SC2034,SC2154 "${parts[@]}"
}

# Relative links of Markdown files name a file or folder that is there.
links_lead_somewhere() {
  local file link count=0 broken=0
  while IFS=: read -r file link; do
    link=${link#*](}
    link=${link%%[)#]*}
    count=$((count + 1))
    case $link in
      '' | *://*) ;;
      *) [ -e "$(dirname "$file")/$link" ] || { echo "$file: $link leads nowhere"; broken=1; } ;;
    esac
  done < <(grep -rnoE '\]\([^)]+\)' --include='*.md' README.md docs charts hack deploy 2>/dev/null | sed -E 's/^([^:]+):[0-9]+:/\1:/')
  echo "$count links"
  [ "$broken" -eq 0 ]
}
