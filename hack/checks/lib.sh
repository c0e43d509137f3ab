# What the stages of hack/test share: counting, timing, tools at pinned versions, the cluster's environment. Sourced, not run.
# shellcheck shell=bash

# shellcheck source=hack/lib/settings.sh
. hack/lib/settings.sh
# What these call when something is missing.
say() { echo "$*"; }
fail() { printf '%s\n  -> %s\n' "$1" "$2" >&2; exit 1; }
# shellcheck source=hack/lib/tools.sh
. hack/lib/tools.sh
# shellcheck source=hack/lib/cargo.sh
. hack/lib/cargo.sh

export CARGO_TARGET_DIR=$CACHE/cargo/dev
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}

CARGO_DENY_VERSION=0.20.2
KUBECONFORM_VERSION=v0.7.0

# The longest that one check may take, in seconds: a hang ends as a failure, not as a run that never ends.
CHECK_LIMIT=${TIDEGATE_CHECK_LIMIT:-2400}

start_run() {
  run_logs=$STATE/test
  mkdir -p "$run_logs"
  # Those of the run before are kept: what failed there may be asked for after the next has begun.
  rm -rf "$run_logs/before"
  mkdir "$run_logs/before"
  find "$run_logs" -maxdepth 1 -name '*.log' -exec mv -t "$run_logs/before" {} +
  total_passed=0
  total_failed=0
  summary_lines=()
  failures=()
  reasons=""
}

start_stage() {
  stage=$1
  stage_started=$SECONDS
  stage_passed=0
  stage_failed=0
  printf '\n==== %s\n' "$stage"
}

end_stage() {
  local result=passed
  [ "$stage_failed" -eq 0 ] || result=FAILED
  summary_lines+=("$(printf '%-12s %-7s %4d passed %4d failed   %s' "$stage" "$result" "$stage_passed" "$stage_failed" \
    "$(duration $((SECONDS - stage_started)))")")
  total_passed=$((total_passed + stage_passed))
  total_failed=$((total_failed + stage_failed))
}

summary() {
  printf '\n==== summary\n'
  if [ "${#failures[@]}" -gt 0 ]; then
    printf '%s' "$reasons"
    printf 'failed: %s\n' "${failures[@]}"
    printf 'logs:   %s\n' "$run_logs"
  fi
  printf '%s\n' "${summary_lines[@]}"
  printf '%d passed, %d failed\n' "$total_passed" "$total_failed"
  [ "$total_failed" -eq 0 ]
}

duration() {
  printf '%dm%02ds' $(($1 / 60)) $(($1 % 60))
}

# passed NAME [COUNT], failed NAME [COUNT]: what the summary counts.
passed() {
  stage_passed=$((stage_passed + ${2:-1}))
}

failed() {
  stage_failed=$((stage_failed + ${2:-1}))
  failures+=("$stage: $1")
}

# check NAME COMMAND...: one check; it passes when the command succeeds.
check() {
  local name=$1 started=$SECONDS
  shift
  if run_logged "$name" "$@"; then
    passed "$name"
    printf -- '---- %s: passed (%s)\n' "$name" "$(duration $((SECONDS - started)))"
  else
    failed "$name"
    printf -- '---- %s: FAILED (%s)\n' "$name" "$(duration $((SECONDS - started)))"
    return 1
  fi
}

# what_failed: of the output of the test harness, what each failed test printed; of a long story its begin and its end.
what_failed() {
  awk -v most=12 '
    function tell() {
      for (i = 1; i <= count; i++) if (i <= most || i > count - most) print line[i]; else if (i == most + 1) print "  ..."
      count = 0
    }
    /^---- .* stdout ----$/ { tell(); inside = 1; print; next }
    /^(failures:|test result: )/ { tell(); inside = 0 }
    inside && NF { line[++count] = substr($0, 1, 400) }'
}

# cargo_tests NAME COMMAND...: counts what the test harness reports; a build or run that reports no failed test but fails
# counts as one failure.
cargo_tests() {
  local name=$1 started=$SECONDS status=0 counts ok bad
  shift
  run_logged "$name" "$@" || status=$?
  counts=$(awk '/^test result: / { for (i = 1; i < NF; i++) { if ($(i+1) == "passed;") ok += $i; if ($(i+1) == "failed;") bad += $i } }
    END { printf "%d %d", ok, bad }' "$(log_of "$name")")
  ok=${counts% *}
  bad=${counts#* }
  [ "$ok" -eq 0 ] || passed "$name" "$ok"
  if [ "$bad" -gt 0 ]; then
    failed "$name ($bad tests)" "$bad"
    reasons+="$(what_failed <"$(log_of "$name")")"$'\n'
  elif [ "$status" -ne 0 ]; then
    failed "$name (did not build or did not finish)"
  elif [ "$ok" -eq 0 ]; then
    # No test ran: a filter that matches nothing, or a suite that went missing, must not look like success.
    failed "$name (no test ran)"
    status=1
  fi
  printf -- '---- %s: %d passed, %d failed (%s)\n' "$name" "$ok" "$bad" "$(duration $((SECONDS - started)))"
  return "$status"
}

log_of() {
  printf '%s/%s-%s.log' "$run_logs" "$stage" "${1//[^A-Za-z0-9_.-]/-}"
}

# A function limits itself; anything else runs under the limit. Under pipefail the status is the command's, not tee's.
run_logged() {
  local name=$1
  shift
  printf -- '---- %s\n' "$name"
  if [ "$(type -t "$1")" = function ]; then
    "$@" 2>&1 </dev/null | tee "$(log_of "$name")"
  else
    timeout --kill-after=30 "$CHECK_LIMIT" "$@" 2>&1 </dev/null | tee "$(log_of "$name")"
  fi
}

# need COMMAND PACKAGE: the command is there, or Debian's package is installed, or it is said what to install.
need() {
  command -v "$1" >/dev/null 2>&1 && return 0
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing $2 for $1"
    if ! DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null 2>&1; then
      apt-get update -qq >/dev/null 2>&1 || true
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null || true
    fi
  fi
  command -v "$1" >/dev/null 2>&1 && return 0
  echo "$1 is missing: install it (Debian: apt-get install $2) and run hack/test again" >&2
  return 1
}

# The compilers and tools that building the workspace takes.
need_rust() {
  if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo is missing: install Rust from https://rustup.rs (rust-toolchain.toml names the version) and run hack/test again" >&2
    return 1
  fi
  need cc gcc && need c++ g++ && need make make && need perl perl && need pkg-config pkg-config && need jq jq || return 1
  cargo_folder "$CACHE/cargo/dev" dev
}

need_cargo_deny() {
  local root=$CACHE/tools/cargo-deny-$CARGO_DENY_VERSION
  if [ ! -x "$root/bin/cargo-deny" ]; then
    echo "building cargo-deny $CARGO_DENY_VERSION (once; several minutes)"
    env -u CARGO_TARGET_DIR cargo install --quiet --locked cargo-deny --version "$CARGO_DENY_VERSION" --root "$root" || return 1
  fi
  PATH=$root/bin:$PATH
}

need_kubeconform() {
  go_tool kubeconform "$KUBECONFORM_VERSION" github.com/yannh/kubeconform/cmd/kubeconform
  PATH=$CACHE/tools/kubeconform-$KUBECONFORM_VERSION:$PATH
}

# The cluster of hack/up, brought up (or found up to date) once a run, and the exports of hack/env.
need_cluster() {
  case "${cluster:-unknown}" in
    up) return 0 ;;
    down) echo "the cluster could not be brought up (see above)" >&2; failed "cluster"; return 1 ;;
  esac
  # From nothing it takes longer than any other check.
  if ! CHECK_LIMIT=3600 check "hack/up" hack/up; then
    cluster=down
    return 1
  fi
  local exports
  if ! exports=$(hack/env); then
    cluster=down
    failed "hack/env"
    return 1
  fi
  eval "$exports"
  cluster=up
}

# Test targets that need nothing but the compiler. Every other target under <crate>/tests/ is an integration test, so that a new
# one is run without being listed anywhere.
CLUSTER_FREE_TESTS=(contract_twin driver golden schemas)

# test_targets unit|integration: `--test NAME` arguments, one a line pair, without the e2e stories.
test_targets() {
  cargo metadata --no-deps --format-version 1 --locked |
    jq -r '.packages[] | .targets[] | select(.kind == ["test"] and .name != "e2e") | .name' | sort -u |
    while read -r name; do
      kind=integration
      for free in "${CLUSTER_FREE_TESTS[@]}"; do
        [ "$name" != "$free" ] || kind=unit
      done
      [ "$kind" != "$1" ] || printf -- '--test\n%s\n' "$name"
    done
}
