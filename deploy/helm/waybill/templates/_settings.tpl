{{/* The settings files of the roles. What stands in `<role>.settings` goes over what is made here, so that every setting can be set. */}}

{{- define "waybill.secrets" -}}/var/run/waybill{{- end -}}

{{/* Certificates of the connection between the planes: (dict "root" $ "of" .Values.control). */}}
{{- define "waybill.settings.tls" -}}
tls:
  caFile: {{ include "waybill.secrets" .root }}/tls/ca.crt
  certFile: {{ include "waybill.secrets" .root }}/tls/tls.crt
  keyFile: {{ include "waybill.secrets" .root }}/tls/tls.key
{{- end -}}

{{- define "waybill.settings.store" -}}
store: {{ printf "%s://%s" (ternary "etcds" "etcd" .Values.store.tls.enabled) (join "," .Values.store.endpoints) }}
{{- $etcd := dict }}
{{- if .Values.store.tls.enabled }}
{{- $_ := set $etcd "caFile" (printf "%s/etcd/%s" (include "waybill.secrets" .) .Values.store.tls.caKey) }}
{{- if .Values.store.tls.clientCertificate }}
{{- $_ := set $etcd "certFile" (printf "%s/etcd/tls.crt" (include "waybill.secrets" .)) }}
{{- $_ := set $etcd "keyFile" (printf "%s/etcd/tls.key" (include "waybill.secrets" .)) }}
{{- end }}
{{- end }}
{{- if .Values.store.username }}
{{- $_ := set $etcd "username" .Values.store.username }}
{{- $_ := set $etcd "passwordFile" (printf "%s/etcd-password/%s" (include "waybill.secrets" .) .Values.store.passwordSecret.key) }}
{{- end }}
{{- if $etcd }}
etcd:
  {{- toYaml $etcd | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "waybill.ledger.url" -}}
{{- $query := "" }}
{{- if .Values.ledger.tls.caSecret }}
{{- $query = printf "?sslmode=verify-full&sslrootcert=%s/ledger-ca/%s" (include "waybill.secrets" .) .Values.ledger.tls.caKey }}
{{- end }}
{{- printf "postgres://%s@%s:%v/%s%s" .Values.ledger.username .Values.ledger.host .Values.ledger.port .Values.ledger.database $query }}
{{- end -}}

{{- define "waybill.settings.ledger" -}}
ledger: {{ include "waybill.ledger.url" . | quote }}
postgres:
  passwordFile: {{ include "waybill.secrets" . }}/ledger/{{ .Values.ledger.passwordSecret.key }}
{{- end -}}

{{- define "waybill.settings.kafka" -}}
kafka:
  brokers: {{ join "," .Values.kafka.brokers | quote }}
  topic: {{ .Values.kafka.topic }}
  security: {{ ternary (ternary "sasl_tls" "tls" (ne .Values.kafka.username "")) (ternary "sasl_plaintext" "plaintext" (ne .Values.kafka.username "")) .Values.kafka.tls.enabled }}
  {{- if and .Values.kafka.tls.enabled .Values.kafka.tls.secret }}
  caFile: {{ include "waybill.secrets" . }}/kafka/{{ .Values.kafka.tls.caKey }}
  {{- if .Values.kafka.tls.clientCertificate }}
  certFile: {{ include "waybill.secrets" . }}/kafka/tls.crt
  keyFile: {{ include "waybill.secrets" . }}/kafka/tls.key
  {{- end }}
  {{- end }}
  {{- if .Values.kafka.username }}
  saslMechanism: {{ .Values.kafka.saslMechanism }}
  saslUser: {{ .Values.kafka.username }}
  saslPasswordFile: {{ include "waybill.secrets" . }}/kafka-password/{{ .Values.kafka.passwordSecret.key }}
  {{- end }}
{{- end -}}

{{- define "waybill.settings.peppers" -}}
pepperFiles:
  {{- range .Values.pepper.keys }}
  - {{ include "waybill.secrets" $ }}/pepper/{{ . }}
  {{- end }}
{{- end -}}

{{- define "waybill.settings.control" -}}
{{- $made := printf "%s\n%s\n%s\n%s" (include "waybill.settings.store" .) (include "waybill.settings.ledger" .) (include "waybill.settings.peppers" .) (include "waybill.settings.tls" (dict "root" .)) | fromYaml }}
{{- $listen := dict "adminListen" "0.0.0.0:7070" "syncListen" "0.0.0.0:7071" "opsListen" "0.0.0.0:7072" "operatorTokenFile" (printf "%s/operator/%s" (include "waybill.secrets" .) .Values.operatorToken.key) }}
{{- toYaml (mergeOverwrite $made $listen (deepCopy .Values.control.settings)) }}
{{- end -}}

{{- define "waybill.settings.proxy" -}}
{{- $made := printf "%s\n%s" (include "waybill.settings.peppers" .) (include "waybill.settings.tls" (dict "root" .)) | fromYaml }}
{{- $_ := set $made "control" (list (printf "%s-control:7071" (include "waybill.fullname" .))) }}
{{- $_ := set $made "listen" "0.0.0.0:8080" }}
{{- $_ := set $made "opsListen" "0.0.0.0:7072" }}
{{- $_ := set $made "state" "/var/lib/waybill" }}
{{- $_ := set $made "drain" (dict "delay" (printf "%vs" .Values.proxy.drainDelaySeconds)) }}
{{- if include "waybill.kafka" . }}
{{- $made = mergeOverwrite $made (include "waybill.settings.kafka" . | fromYaml) }}
{{- else }}
{{- $_ := set $made "usage" (dict "transport" "ingest") }}
{{- end }}
{{- toYaml (mergeOverwrite $made (deepCopy .Values.proxy.settings)) }}
{{- end -}}

{{- define "waybill.settings.billing" -}}
{{- $made := printf "%s\n%s" (include "waybill.settings.ledger" .) (include "waybill.settings.kafka" .) | fromYaml }}
{{- $_ := set $made "opsListen" "0.0.0.0:7072" }}
{{- toYaml (mergeOverwrite $made (deepCopy .Values.billing.settings)) }}
{{- end -}}

{{/* What a job is told, as variables: the same settings under the same names. (dict "root" $ "role" "migrate") */}}
{{- define "waybill.jobs.env" -}}
{{- $settings := dict }}
{{- if eq .role "migrate" }}
{{- $settings = mergeOverwrite (include "waybill.settings.store" .root | fromYaml) (include "waybill.settings.ledger" .root | fromYaml) }}
{{- else }}
{{- $settings = include "waybill.settings.kafka" .root | fromYaml }}
{{- end }}
{{- range $name, $value := $settings }}
{{- if kindIs "map" $value }}
{{- range $inner, $text := $value }}
- { name: WAYBILL_{{ printf "%s_%s" $name ($inner | snakecase) | upper }}, value: {{ $text | quote }} }
{{- end }}
{{- else }}
- { name: WAYBILL_{{ $name | snakecase | upper }}, value: {{ $value | quote }} }
{{- end }}
{{- end }}
{{- end -}}

{{/* Volumes, a name, a folder and a secret each. A role mounts what it needs and nothing else: proxies have no way to the databases. */}}
{{- define "waybill.volume.list" -}}
{{- $tls := index .root.Values.tls .role | default dict }}
{{- $list := list }}
{{- if has .role (list "control" "proxy") }}
{{- $list = append $list (dict "name" "tls" "secret" $tls.secret) }}
{{- $list = append $list (dict "name" "pepper" "secret" .root.Values.pepper.secret) }}
{{- end }}
{{- if has .role (list "control" "migrate") }}
{{- if .root.Values.store.tls.enabled }}{{ $list = append $list (dict "name" "etcd" "secret" .root.Values.store.tls.secret) }}{{ end }}
{{- if .root.Values.store.username }}{{ $list = append $list (dict "name" "etcd-password" "secret" .root.Values.store.passwordSecret.name) }}{{ end }}
{{- end }}
{{- if eq .role "control" }}
{{- $list = append $list (dict "name" "operator" "secret" .root.Values.operatorToken.secret) }}
{{- end }}
{{- if has .role (list "control" "billing" "migrate") }}
{{- $list = append $list (dict "name" "ledger" "secret" .root.Values.ledger.passwordSecret.name) }}
{{- if .root.Values.ledger.tls.caSecret }}{{ $list = append $list (dict "name" "ledger-ca" "secret" .root.Values.ledger.tls.caSecret) }}{{ end }}
{{- end }}
{{- if and (has .role (list "proxy" "billing" "kafka-init")) (include "waybill.kafka" .root) }}
{{- if and .root.Values.kafka.tls.enabled .root.Values.kafka.tls.secret }}{{ $list = append $list (dict "name" "kafka" "secret" .root.Values.kafka.tls.secret) }}{{ end }}
{{- if .root.Values.kafka.username }}{{ $list = append $list (dict "name" "kafka-password" "secret" .root.Values.kafka.passwordSecret.name) }}{{ end }}
{{- end }}
{{- toJson $list }}
{{- end -}}

{{- define "waybill.mounts" -}}
{{- $root := .root }}
{{- range include "waybill.volume.list" . | fromJsonArray }}
- { name: {{ .name }}, mountPath: {{ include "waybill.secrets" $root }}/{{ .name }}, readOnly: true }
{{- end }}
{{- end -}}

{{- define "waybill.volumes" -}}
{{- range include "waybill.volume.list" . | fromJsonArray }}
- name: {{ .name }}
  secret: { secretName: {{ .secret }}, defaultMode: 0440 }
{{- end }}
{{- end -}}
