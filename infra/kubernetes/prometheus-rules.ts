import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'

type Alert = {
  readonly alert: string
  readonly expr: string
  readonly for: string
  readonly severity: string
  readonly component: string
  readonly summary: string
  readonly description: string
}

/** Alerts of the chart that mean something here: there is no Redis, no replay volume, no migration Job and no cert-manager. */
const LEFT_OUT = new Set([
  'CaracalCertificateExpiring',
  'CaracalMigrationFailed',
  'CaracalEvidenceStranded',
  'CaracalSpoolHalfFull',
  'CaracalPvcFull',
  'CaracalRedisMemory',
  'CaracalRedisEvicting',
])

/** What only this deployment has: the Gateway ends TLS itself. */
const OWN: readonly Alert[] = [
  {
    alert: 'CaracalTlsCertificateExpiring',
    expr: 'min(caracal_tls_not_after_seconds{%NS%}) - time() < 14 * 86400',
    for: '1h',
    severity: 'warning',
    component: 'gateway',
    summary: 'The certificate of the Gateway ends soon',
    description: 'It is valid for {{ $value | humanizeDuration }} more: put a new one into the Secret caracal-tls.',
  },
]

const ROLES = ['gateway', 'api', 'sts', 'audit', 'coordinator', 'mcp-adapter'] as const
const NAMESPACE = 'namespace="caracal"'
const LABELS = {
  'app.kubernetes.io/name': 'caracal',
  'app.kubernetes.io/component': 'alerts',
  'app.kubernetes.io/part-of': 'caracal',
}
const CHART = join(import.meta.dirname, '../helm/caracal')

/** `prometheusrule.yaml`: the alerts of the chart with the thresholds of its values, for the names of this deployment. */
export function prometheusRule(): string {
  const read = (file: string): unknown => parse(readFileSync(join(CHART, file), 'utf8'))
  const { groups } = read('files/alerts.yaml') as { groups: { name: string; rules: Alert[] }[] }
  const { alertRules } = read('values.yaml') as { alertRules: { thresholds: Record<string, number>; runbookBaseUrl: string } }
  const { appVersion } = read('Chart.yaml') as { appVersion: string }
  const rule = (one: Alert) => ({
    alert: one.alert,
    expr: expression(one.expr, alertRules.thresholds),
    for: one.for,
    labels: { severity: one.severity, component: one.component },
    annotations: {
      summary: one.summary,
      description: one.description,
      runbook_url: OWN.includes(one)
        ? alertRules.runbookBaseUrl.replace('alerts.md', 'compact.md#certificates')
        : `${alertRules.runbookBaseUrl}#${one.alert.replaceAll(/(?!^)([A-Z])/g, '-$1').toLowerCase()}`,
    },
  })
  const all = groups.map(({ name, rules }) => ({
    name: `caracal-${name}`,
    rules: [...rules.filter(({ alert }) => !LEFT_OUT.has(alert)), ...(name === 'availability' ? OWN : [])].map(rule),
  }))
  const object = {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: { name: 'caracal', namespace: 'caracal', labels: { ...LABELS, 'app.kubernetes.io/version': String(appVersion) } },
    spec: { groups: all.filter(({ rules }) => rules.length > 0) },
  }
  const head = '# Optional, with the Prometheus Operator. Made from the alerts of the chart by infra/kubernetes/prometheus-rules.ts.\n'
  return head + stringify(object, { lineWidth: 0 })
}

function expression(text: string, thresholds: Readonly<Record<string, number>>): string {
  const absent = ROLES.map((role) => `absent(caracal_build_info{${NAMESPACE},role="${role}"})`).join(' or ')
  const named = text.replaceAll('%ABSENT%', absent).replaceAll('%NS%', NAMESPACE).replaceAll('%F%', 'caracal')
  return Object.entries(thresholds).reduce((done, [name, value]) => done.replaceAll(`%${name}%`, String(value)), named)
}

if (import.meta.main) writeFileSync(join(import.meta.dirname, 'prometheusrule.yaml'), prometheusRule())
