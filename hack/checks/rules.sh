# Alerting rules and dashboards as promtool sees them. Sourced by hack/checks/unit.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # set by the files beside this one

# Without a promtool on the PATH: Debian's, taken out of its package, because installing that would start a Prometheus here; elsewhere built.
PROMTOOL_VERSION=v0.305.0

need_promtool() {
  local folder=$CACHE/tools/promtool work
  command -v promtool >/dev/null 2>&1 && return 0
  if [ ! -x "$folder/promtool" ]; then
    if command -v apt-get >/dev/null 2>&1; then
      work=$CACHE/tmp/promtool
      rm -rf "$work"
      mkdir -p "$work" "$folder"
      (cd "$work" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } &&
        dpkg-deb -x prometheus_*.deb root) || return 1
      mv "$work/root/usr/bin/promtool" "$folder/promtool"
      rm -rf "$work"
    else
      go_tool promtool "$PROMTOOL_VERSION" github.com/prometheus/prometheus/cmd/promtool
      folder=$CACHE/tools/promtool-$PROMTOOL_VERSION
    fi
  fi
  PATH=$folder:$PATH
}

# The expressions of all dashboards, as rules that promtool can read: Grafana's variables stand for something.
dashboards_hold() {
  local rules=${run_logs:?}/dashboards.yaml
  jq -rs '[.[] | .title as $board | .panels[] | select(.targets) | "\($board): \(.title) \(.id)" as $panel | .targets[]
      | .refId as $ref | .expr
      | gsub("\\$__rate_interval|\\$__interval"; "5m") | gsub("\\$__range"; "1h") | gsub("\\$[a-z]+"; "x")
      | {alert: "\($panel)\($ref)", expr: .}]
    | {groups: [{name: "dashboards", rules: .}]}' charts/tidegate/dashboards/*.json >"$rules" && promtool check rules "$rules"
}

# The rules that the operator makes (a unit test keeps the file up to date) and those of the chart.
rules_hold() {
  promtool check rules operator/rules/generated.yaml charts/tidegate/rules/*.yaml && promtool test rules operator/rules/tests/*.yaml
}
