{{- define "tidegate.name" -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "tidegate.selector" -}}
app.kubernetes.io/name: tidegate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "tidegate.labels" -}}
{{ include "tidegate.selector" . }}
app.kubernetes.io/part-of: tidegate
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* A whole reference from {repository, tag}: (list image appVersion). */ -}}
{{- define "tidegate.image" -}}
{{ (index . 0).repository }}:{{ (index . 0).tag | default (index . 1) }}
{{- end }}

{{- /* Labels of what is for Prometheus and Grafana. */ -}}
{{- define "tidegate.monitoringLabels" -}}
{{ include "tidegate.labels" . }}
{{- with .Values.monitoring.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* PrometheusRule, ConfigMap or None. */ -}}
{{- define "tidegate.rules" -}}
{{- if ne .Values.monitoring.rules "Auto" }}{{ .Values.monitoring.rules }}
{{- else if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PrometheusRule" }}PrometheusRule
{{- else }}ConfigMap{{ end }}
{{- end }}

{{- /* The rules about cluster and operator, with this release's severities and address of runbooks. */ -}}
{{- define "tidegate.clusterRules" -}}
{{- $values := .Values.monitoring }}
{{- $rules := .Files.Get "rules/cluster.yaml"
  | replace "{severity: page}" (printf "{severity: %s}" $values.severity)
  | replace "{severity: ticket}" (printf "{severity: %s}" $values.minorSeverity) }}
{{- regexReplaceAll "https://tidegate.dev/runbooks/([A-Za-z]+)" $rules ($values.runbookUrl | replace "{alert}" "${1}") }}
{{- end }}
