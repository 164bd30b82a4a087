{{- define "smscancel.name" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name | trunc 53 | trimSuffix "-" }}{{- else -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{- define "smscancel.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "smscancel.labels" -}}
{{ include "smscancel.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "smscancel.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}{{ default (include "smscancel.name" .) .Values.serviceAccount.name }}{{- else -}}{{ default "default" .Values.serviceAccount.name }}{{- end -}}
{{- end -}}

{{- define "smscancel.image" -}}
{{- if .Values.image.digest -}}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{- else -}}{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}{{- end -}}
{{- end -}}

{{/* The start settings of the worker, by flag. */}}
{{- define "smscancel.settings" -}}
brokers: {{ toJson .Values.kafka.brokers }}
request-topic: {{ toJson .Values.kafka.requestTopics }}
outcome-topic: {{ .Values.kafka.outcomeTopic | quote }}
group: {{ .Values.kafka.group | quote }}
{{- with .Values.kafka.certificates }}
{{- if .secretName }}
{{- if .ca }}
kafka-ca-file: /etc/smscancel/kafka-tls/{{ .ca }}
{{- end }}
{{- if .cert }}
kafka-cert-file: /etc/smscancel/kafka-tls/{{ .cert }}
kafka-key-file: /etc/smscancel/kafka-tls/{{ .key }}
{{- end }}
{{- end }}
{{- end }}
{{- if or .Values.kafka.tls .Values.kafka.certificates.secretName }}
kafka-tls: true
{{- end }}
{{- with .Values.kafka.sasl }}
{{- if .mechanism }}
kafka-sasl-mechanism: {{ .mechanism | quote }}
kafka-username: {{ .username | quote }}
kafka-password-file: /etc/smscancel/kafka-password/{{ .passwordKey }}
{{- end }}
{{- end }}
api-url: {{ .Values.api.url | quote }}
api-key-file: /etc/smscancel/api-key{{ with .Values.api.key.key }}/{{ . }}{{ end }}
{{- if .Values.api.caSecret.secretName }}
api-ca-file: /etc/smscancel/api-ca/{{ .Values.api.caSecret.key }}
{{- end }}
{{- with .Values.settings }}
{{ toYaml . }}
{{- end }}
{{- end -}}
