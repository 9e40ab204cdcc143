type Series = Readonly<Record<string, string>>

/** One alert with series on which it fires and series of a day on which all is well, 100 minutes long. */
export type AlertCase = { readonly name: string; readonly severity: 'warning' | 'critical'; readonly fires: Series; readonly quiet: Series }

const POD = 'namespace="caracal",role="gateway",pod="caracal-gateway-0"'
const AUDIT = 'namespace="caracal",role="audit",pod="caracal-audit-a"'
const ADAPTER = 'namespace="caracal",role="mcp-adapter",pod="caracal-mcp-adapter-0"'
const ROLES = ['api', 'sts', 'gateway', 'audit', 'coordinator', 'mcp-adapter']

/** A value that stays. */
const level = (value: number) => `${value}+0x100`
/** A counter that grows by so much a minute. */
const grows = (step: number) => `0+${step}x100`

function gauge(name: string, severity: AlertCase['severity'], series: string, bad: number, good: number): AlertCase {
  return { name, severity, fires: { [series]: level(bad) }, quiet: { [series]: level(good) } }
}

function counter(name: string, severity: AlertCase['severity'], series: string): AlertCase {
  return { name, severity, fires: { [series]: grows(1) }, quiet: { [series]: level(3) } }
}

/** A histogram of which nearly all lies below `bound` on a good day, and nearly nothing on a bad one. */
function quantile(name: string, severity: AlertCase['severity'], metric: string, labels: string, bound: string): AlertCase {
  const bucket = (le: string) => `${metric}_bucket{${labels},le="${le}"}`
  const top = String(Number(bound) * 10)
  return {
    name,
    severity,
    fires: { [bucket(bound)]: grows(1), [bucket(top)]: grows(100), [bucket('+Inf')]: grows(100) },
    quiet: { [bucket(bound)]: grows(1000), [bucket(top)]: grows(1000), [bucket('+Inf')]: grows(1000) },
  }
}

/** A share of all calls that fail. */
function share(name: string, severity: AlertCase['severity'], metric: string, label: string, bad: string, good: string): AlertCase {
  const of = (value: string) => `${metric}{${POD},${label}="${value}"}`
  return {
    name,
    severity,
    fires: { [of(bad)]: grows(30), [of(good)]: grows(70) },
    quiet: { [of(bad)]: grows(1), [of(good)]: grows(999) },
  }
}

function pair(
  name: string,
  severity: AlertCase['severity'],
  series: readonly [string, string],
  bad: readonly [number, number],
  good: readonly [number, number],
): AlertCase {
  const both = (values: readonly [number, number]) => ({ [series[0]]: level(values[0]), [series[1]]: level(values[1]) })
  return { name, severity, fires: both(bad), quiet: both(good) }
}

const info = (role: string) => [`caracal_build_info{namespace="caracal",role="${role}"}`, level(1)] as const
const flapping = Array.from({ length: 101 }, (_, minute) => minute % 2).join(' ')
const redis: readonly [string, string] = [`caracal_redis_used_bytes{${AUDIT}}`, `caracal_redis_limit_bytes{${AUDIT}}`]
const job = 'namespace="caracal",job_name="caracal-migrate"'
const scaler = 'namespace="caracal",horizontalpodautoscaler="caracal-gateway"'
const claim = 'namespace="caracal",persistentvolumeclaim="replay-caracal-gateway-0"'

export const ALERTS: readonly AlertCase[] = [
  gauge('CaracalTargetDown', 'critical', 'up{namespace="caracal",job="caracal-gateway",pod="caracal-gateway-0"}', 0, 1),
  {
    name: 'CaracalRoleAbsent',
    severity: 'critical',
    fires: Object.fromEntries(ROLES.filter((role) => role !== 'sts').map(info)),
    quiet: Object.fromEntries(ROLES.map(info)),
  },
  gauge('CaracalNotReady', 'critical', `caracal_ready{${POD}}`, 0, 1),
  {
    name: 'CaracalReadinessFlapping',
    severity: 'warning',
    fires: { [`caracal_ready{${POD}}`]: flapping },
    quiet: { [`caracal_ready{${POD}}`]: level(1) },
  },
  gauge('CaracalEventLoopBlocked', 'warning', `caracal_event_loop_p99_seconds{${POD}}`, 0.4, 0.01),
  gauge('CaracalTaskStalled', 'warning', `caracal_task_overdue{${POD},task="sweep"}`, 1, 0),
  gauge('CaracalInsecureSetting', 'warning', `caracal_insecure_setting{${POD},name="sslmode"}`, 1, 0),
  pair(
    'CaracalAtMaxReplicas',
    'warning',
    [`kube_horizontalpodautoscaler_status_current_replicas{${scaler}}`, `kube_horizontalpodautoscaler_spec_max_replicas{${scaler}}`],
    [16, 16],
    [3, 16],
  ),
  gauge(
    'CaracalCertificateExpiring',
    'warning',
    'certmanager_certificate_expiration_timestamp_seconds{namespace="caracal",name="caracal-gateway-tls"}',
    1_000_000,
    9_000_000,
  ),
  pair('CaracalMigrationFailed', 'critical', [`kube_job_status_failed{${job}}`, `kube_job_status_succeeded{${job}}`], [3, 0], [1, 1]),
  gauge('CaracalSchemaIncompatible', 'critical', `caracal_schema_compatible{${POD}}`, 0, 1),
  counter('CaracalEvidenceRefused', 'critical', `caracal_spool_write_errors_total{${POD}}`),
  gauge('CaracalEvidenceStranded', 'critical', `caracal_audit_writers_lost{${AUDIT}}`, 1, 0),
  gauge('CaracalSpoolBacklogOld', 'warning', `caracal_spool_oldest_seconds{${POD}}`, 90, 2),
  gauge('CaracalSpoolHalfFull', 'warning', `caracal_spool_used_ratio{${POD}}`, 0.6, 0.1),
  gauge('CaracalSpoolHalfFull', 'critical', `caracal_spool_used_ratio{${POD}}`, 0.95, 0.6),
  pair(
    'CaracalPvcFull',
    'warning',
    [`kubelet_volume_stats_available_bytes{${claim}}`, `kubelet_volume_stats_capacity_bytes{${claim}}`],
    [100, 2000],
    [1500, 2000],
  ),
  counter('CaracalQuarantineGrowing', 'critical', `caracal_audit_quarantined_total{${AUDIT},reason="bad_mac"}`),
  gauge('CaracalQuarantineNotEmpty', 'warning', `caracal_audit_quarantine_records{${AUDIT}}`, 1, 0),
  gauge('CaracalAuditLag', 'warning', `caracal_stream_lag{${AUDIT},stream="caracal.audit.events"}`, 5000, 10),
  gauge('CaracalStreamStuck', 'warning', `caracal_stream_oldest_pending_seconds{${AUDIT},stream="caracal.audit.events"}`, 300, 1),
  gauge('CaracalLedgerBroken', 'critical', `caracal_ledger_verified{${AUDIT}}`, 0, 1),
  gauge('CaracalCheckpointLate', 'warning', `caracal_ledger_checkpoint_age_seconds{${AUDIT}}`, 2000, 60),
  gauge('CaracalOutboxDead', 'critical', 'caracal_outbox_dead{namespace="caracal",producer="api"}', 1, 0),
  gauge('CaracalOutboxSlow', 'warning', 'caracal_outbox_oldest_pending_seconds{namespace="caracal",producer="api"}', 400, 1),
  gauge('CaracalRevocationStale', 'critical', `caracal_revocation_view_fresh{${POD}}`, 0, 1),
  quantile('CaracalRevocationSlow', 'critical', 'caracal_revocation_propagation_seconds', POD, '1'),
  gauge('CaracalPolicyUnverified', 'critical', `caracal_policy_verified_age_seconds{${POD}}`, 60, 3),
  counter('CaracalPolicyRejected', 'warning', `caracal_policy_load_failures_total{${POD}}`),
  share('CaracalGatewayErrors', 'critical', 'caracal_gateway_requests_total', 'outcome', 'error', 'allowed'),
  quantile('CaracalGatewaySlow', 'warning', 'caracal_gateway_overhead_seconds', POD, '0.05'),
  share('CaracalStsCallsFailing', 'critical', 'caracal_gateway_sts_calls_total', 'result', 'error', 'ok'),
  gauge('CaracalStsCircuitOpen', 'critical', `caracal_gateway_sts_circuit_open{${POD}}`, 1, 0),
  gauge('CaracalMcpServerDown', 'warning', `caracal_mcp_server_up{${ADAPTER},server="tools"}`, 0, 1),
  quantile('CaracalExchangeSlow', 'warning', 'caracal_exchange_seconds', 'namespace="caracal",role="sts",pod="caracal-sts-0"', '0.25'),
  share('CaracalProviderRefreshFailing', 'warning', 'caracal_provider_refresh_total', 'result', 'failed', 'ok'),
  pair(
    'CaracalPoolSaturated',
    'warning',
    [`caracal_db_pool_connections{${AUDIT},state="in_use"}`, `caracal_db_pool_max{${AUDIT}}`],
    [10, 10],
    [2, 10],
  ),
  quantile('CaracalPoolWaiting', 'warning', 'caracal_db_pool_wait_seconds', AUDIT, '0.1'),
  pair('CaracalRedisMemory', 'warning', redis, [80, 100], [20, 100]),
  pair('CaracalRedisMemory', 'critical', redis, [95, 100], [80, 100]),
  gauge('CaracalRedisEvicting', 'critical', `caracal_redis_noeviction{${AUDIT}}`, 0, 1),
]
