{{- define "clew.pod" -}}
securityContext: { runAsNonRoot: true, runAsUser: 10001, fsGroup: 10001, seccompProfile: { type: RuntimeDefault } }
{{- end }}

{{- define "clew.container" -}}
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
{{- end }}

{{- define "clew.natsSettings" -}}
{{- if .Values.nats.tlsSecret }}
- { name: CLEW_NATS_CA, value: /etc/clew/nats-tls/ca.crt }
{{- if .Values.nats.clientCertificate }}
- { name: CLEW_NATS_CERT, value: /etc/clew/nats-tls/tls.crt }
- { name: CLEW_NATS_KEY, value: /etc/clew/nats-tls/tls.key }
{{- end }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- end }}
