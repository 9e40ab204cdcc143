/** A panel: what it shows, by which expressions, in which unit. `%` stands for the selector of the namespace. */
type Panel = { readonly title: string; readonly unit: string; readonly series: readonly (readonly [legend: string, expression: string])[] }

const quantile = (share: number, family: string, by = 'le') =>
  `histogram_quantile(${share}, sum by (${by}) (rate(${family}_bucket{%}[$__rate_interval])))`
const rate = (family: string, by: string) => `sum by (${by}) (rate(${family}{%}[$__rate_interval]))`

const DASHBOARDS: Readonly<Record<string, readonly Panel[]>> = {
  overview: [
    { title: 'Replicas that are ready', unit: 'none', series: [['{{role}}', 'sum by (role) (caracal_ready{%})']] },
    { title: 'Requests', unit: 'reqps', series: [['{{role}}', rate('caracal_http_request_seconds_count', 'role')]] },
    {
      title: 'Requests answered with 5xx',
      unit: 'reqps',
      series: [['{{role}}', 'sum by (role) (rate(caracal_http_request_seconds_count{%,code=~"5.."}[$__rate_interval]))']],
    },
    { title: 'Latency, 99th percentile', unit: 's', series: [['{{role}}', quantile(0.99, 'caracal_http_request_seconds', 'le, role')]] },
    {
      title: 'Delay of the event loop, 99th percentile',
      unit: 's',
      series: [['{{role}} {{pod}}', 'max by (role, pod) (caracal_event_loop_p99_seconds{%})']],
    },
    {
      title: 'Revocation in force everywhere, 99th percentile',
      unit: 's',
      series: [['propagation', quantile(0.99, 'caracal_revocation_propagation_seconds')]],
    },
    { title: 'Oldest evidence that waits', unit: 's', series: [['{{pod}}', 'max by (pod) (caracal_spool_oldest_seconds{%})']] },
    { title: 'Versions', unit: 'none', series: [['{{role}} {{version}}', 'count by (role, version) (caracal_build_info{%})']] },
  ],
  gateway: [
    { title: 'Calls', unit: 'reqps', series: [['{{outcome}}', rate('caracal_gateway_requests_total', 'outcome')]] },
    {
      title: 'Why calls are refused or fail',
      unit: 'reqps',
      series: [['{{reason}}', 'sum by (reason) (rate(caracal_gateway_requests_total{%,outcome!="allow"}[$__rate_interval]))']],
    },
    {
      title: 'What the Gateway adds',
      unit: 's',
      series: [
        ['50 %', quantile(0.5, 'caracal_gateway_overhead_seconds')],
        ['99 %', quantile(0.99, 'caracal_gateway_overhead_seconds')],
      ],
    },
    { title: 'Calls in flight', unit: 'none', series: [['{{pod}}', 'sum by (pod) (caracal_gateway_live_calls{%})']] },
    { title: 'Calls to the STS', unit: 'reqps', series: [['{{result}}', rate('caracal_gateway_sts_calls_total', 'result')]] },
    { title: 'Spool in use', unit: 'percentunit', series: [['{{pod}}', 'max by (pod) (caracal_spool_used_ratio{%,role="gateway"})']] },
    {
      title: 'Age of the view of revocations',
      unit: 's',
      series: [['{{pod}}', 'max by (pod) (caracal_revocation_view_age_seconds{%,role="gateway"})']],
    },
    {
      title: 'Load that was shed',
      unit: 'reqps',
      series: [['{{pod}}', 'sum by (pod) (rate(caracal_load_shed_total{%,role="gateway"}[$__rate_interval]))']],
    },
  ],
  sts: [
    { title: 'Token requests', unit: 'reqps', series: [['{{result}}', rate('caracal_exchange_seconds_count', 'result')]] },
    {
      title: 'Why token requests are refused',
      unit: 'reqps',
      series: [['{{reason}}', 'sum by (reason) (rate(caracal_exchange_seconds_count{%,result="refused"}[$__rate_interval]))']],
    },
    {
      title: 'Time of a token request',
      unit: 's',
      series: [
        ['50 %', quantile(0.5, 'caracal_exchange_seconds')],
        ['99 %', quantile(0.99, 'caracal_exchange_seconds')],
      ],
    },
    {
      title: 'Internal calls',
      unit: 'reqps',
      series: [['{{operation}} {{result}}', rate('caracal_internal_calls_total', 'operation, result')]],
    },
    { title: 'Token requests at providers', unit: 'reqps', series: [['{{result}}', rate('caracal_provider_refresh_total', 'result')]] },
    {
      title: 'Zones in memory',
      unit: 'none',
      series: [
        ['{{pod}}', 'max by (pod) (caracal_zones_loaded{%,role="sts"})'],
        ['{{pod}} unloadable', 'max by (pod) (caracal_zones_unloadable{%})'],
      ],
    },
    {
      title: 'Age of the confirmed policies',
      unit: 's',
      series: [['{{pod}}', 'max by (pod) (caracal_policy_verified_age_seconds{%,role="sts"})']],
    },
    { title: 'Spool in use', unit: 'percentunit', series: [['{{pod}}', 'max by (pod) (caracal_spool_used_ratio{%,role="sts"})']] },
  ],
  audit: [
    { title: 'Events taken', unit: 'none', series: [['{{outcome}}', rate('caracal_audit_ingested_total', 'outcome')]] },
    {
      title: 'How far the ledger is behind, 99th percentile',
      unit: 's',
      series: [['delay', quantile(0.99, 'caracal_audit_ingest_delay_seconds')]],
    },
    { title: 'Messages that wait', unit: 'none', series: [['{{stream}}', 'max by (stream) (caracal_stream_lag{%})']] },
    {
      title: 'Quarantine',
      unit: 'none',
      series: [
        ['records', 'max(caracal_audit_quarantine_records{%})'],
        ['{{reason}} per second', rate('caracal_audit_quarantined_total', 'reason')],
      ],
    },
    { title: 'The ledger verifies', unit: 'none', series: [['verified', 'min(caracal_ledger_verified{%})']] },
    { title: 'Oldest entry without a checkpoint', unit: 's', series: [['age', 'max(caracal_ledger_checkpoint_age_seconds{%})']] },
    {
      title: 'Since everything was verified',
      unit: 's',
      series: [
        ['heads', 'max(caracal_ledger_heads_verified_age_seconds{%})'],
        ['all entries', 'max(caracal_ledger_tree_verified_age_seconds{%})'],
      ],
    },
    { title: 'Writers that were lost', unit: 'none', series: [['writers', 'max(caracal_audit_writers_lost{%})']] },
  ],
  'mcp-adapter': [
    { title: 'Messages', unit: 'reqps', series: [['{{server}} {{outcome}}', rate('caracal_mcp_requests_total', 'server, outcome')]] },
    { title: 'Kinds of messages', unit: 'reqps', series: [['{{kind}}', rate('caracal_mcp_requests_total', 'kind')]] },
    { title: 'Servers that take connections', unit: 'none', series: [['{{server}}', 'max by (server) (caracal_mcp_server_up{%})']] },
    {
      title: 'Why messages are refused or fail',
      unit: 'reqps',
      series: [
        ['{{reason}}', 'sum by (reason) (rate(caracal_gateway_requests_total{%,role="mcp-adapter",outcome!="allow"}[$__rate_interval]))'],
      ],
    },
    {
      title: 'What the adapter adds',
      unit: 's',
      series: [
        [
          '99 %',
          'histogram_quantile(0.99, sum by (le) (rate(caracal_gateway_overhead_seconds_bucket{%,role="mcp-adapter"}[$__rate_interval])))',
        ],
      ],
    },
    { title: 'Spool in use', unit: 'percentunit', series: [['{{pod}}', 'max by (pod) (caracal_spool_used_ratio{%,role="mcp-adapter"})']] },
  ],
  stores: [
    {
      title: 'Connections to Postgres',
      unit: 'none',
      series: [['{{role}} {{state}}', 'sum by (role, state) (caracal_db_pool_connections{%})']],
    },
    {
      title: 'Pool in use',
      unit: 'percentunit',
      series: [['{{pod}}', 'max by (pod) (caracal_db_pool_connections{%,state="in_use"}) / max by (pod) (caracal_db_pool_max{%})']],
    },
    {
      title: 'Wait for a connection, 95th percentile',
      unit: 's',
      series: [['{{role}}', quantile(0.95, 'caracal_db_pool_wait_seconds', 'le, role')]],
    },
    {
      title: 'Memory of Redis',
      unit: 'bytes',
      series: [
        ['used', 'max(caracal_redis_used_bytes{%})'],
        ['limit', 'max(caracal_redis_limit_bytes{%})'],
      ],
    },
    {
      title: 'Keys that Redis dropped',
      unit: 'none',
      series: [['evicted', 'sum(rate(caracal_redis_evicted_keys_total{%}[$__rate_interval]))']],
    },
    {
      title: 'Outboxes',
      unit: 'none',
      series: [
        ['{{producer}} pending', 'max by (producer) (caracal_outbox_pending{%})'],
        ['{{producer}} dead', 'max by (producer) (caracal_outbox_dead{%})'],
      ],
    },
    {
      title: 'Oldest message of an outbox',
      unit: 's',
      series: [['{{producer}}', 'max by (producer) (caracal_outbox_oldest_pending_seconds{%})']],
    },
    {
      title: 'Oldest message of a stream',
      unit: 's',
      series: [['{{stream}}', 'max by (stream) (caracal_stream_oldest_pending_seconds{%})']],
    },
  ],
}

export const DASHBOARD_NAMES = Object.keys(DASHBOARDS)

const WIDTH = 12
const HEIGHT = 8

/** One dashboard for Grafana; its data source and namespace are chosen in it. */
export function dashboardFile(name: string): string {
  const panels = (DASHBOARDS[name] ?? []).map(({ title, unit, series }, at) => ({
    id: at + 1,
    type: 'timeseries',
    title,
    datasource: { type: 'prometheus', uid: '$datasource' },
    gridPos: { x: (at % 2) * WIDTH, y: Math.floor(at / 2) * HEIGHT, w: WIDTH, h: HEIGHT },
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    targets: series.map(([legendFormat, expression], index) => ({
      refId: String.fromCharCode(65 + index),
      expr: expression.replaceAll('%', 'namespace="$namespace"'),
      legendFormat,
    })),
  }))
  const dashboard = {
    uid: `caracal-${name}`,
    title: `Caracal / ${name}`,
    tags: ['caracal'],
    schemaVersion: 39,
    editable: false,
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', type: 'datasource', query: 'prometheus' },
        {
          name: 'namespace',
          type: 'query',
          datasource: { type: 'prometheus', uid: '$datasource' },
          query: 'label_values(caracal_build_info, namespace)',
          refresh: 2,
        },
      ],
    },
    panels,
  }
  return `${JSON.stringify(dashboard, null, 2)}\n`
}
