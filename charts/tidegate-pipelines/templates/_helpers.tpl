{{- /* Metadata of a resource: (list name root). Helm adds its own labels when it installs. */ -}}
{{- define "tidegate-pipelines.metadata" -}}
{{- $root := index . 1 -}}
name: {{ index . 0 }}
namespace: {{ $root.Release.Namespace }}
{{- with $root.Values.labels }}
labels: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
