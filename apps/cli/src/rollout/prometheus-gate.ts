import { listAt, textAt } from './kubectl.ts'
import { type Row, row } from './row.ts'

const LIMIT_MS = 10_000
const NAME = 'Observability'

/**
 * Prometheus scrapes every target of the namespace and has our rules loaded. `gone` are pods that end: their targets stay on its list
 * for a moment.
 */
export async function prometheusGate(
  prometheus: string | undefined,
  namespace: string,
  monitored: boolean,
  gone: (pod: string) => boolean = () => false,
): Promise<Row> {
  if (prometheus === undefined)
    return monitored
      ? row('G12', NAME, 'unknown', 'the release has monitors; say with --prometheus where Prometheus is')
      : row('G12', NAME, 'none', 'the release has no monitors')
  try {
    const [targets, rules] = await Promise.all([
      ask(prometheus, '/api/v1/targets?state=active'),
      ask(prometheus, '/api/v1/rules?type=alert'),
    ])
    const ours = listAt(targets, 'data', 'activeTargets').filter(
      (one) => textAt(one, 'labels', 'namespace') === namespace && !gone(textAt(one, 'labels', 'pod')),
    )
    const down = ours.filter((one) => textAt(one, 'health') !== 'up')
    const alerts = listAt(rules, 'data', 'groups')
      .flatMap((group) => listAt(group, 'rules'))
      .filter((one) => textAt(one, 'name').startsWith('Caracal'))
    const broken = alerts.filter((one) => textAt(one, 'health') !== 'ok')
    const firing = alerts.filter((one) => textAt(one, 'state') === 'firing' && textAt(one, 'labels', 'severity') === 'critical')
    const faults = [
      ...(ours.length === 0 ? [`no target in ${namespace}`] : []),
      ...down.map((one) => `${textAt(one, 'scrapeUrl')}: ${textAt(one, 'lastError') || textAt(one, 'health')}`),
      ...(alerts.length === 0 ? ['none of our alert rules is loaded'] : []),
      ...broken.map((one) => `${textAt(one, 'name')}: ${textAt(one, 'lastError') || textAt(one, 'health')}`),
      ...firing.map((one) => `${textAt(one, 'name')} fires`),
    ]
    return row(
      'G12',
      NAME,
      faults.length > 0 ? 'stop' : 'go',
      faults.join('; ') || `${ours.length} targets up, ${alerts.length} rules loaded`,
    )
  } catch (error) {
    return row('G12', NAME, 'unknown', `Prometheus did not answer: ${error instanceof Error ? error.message : error}`)
  }
}

async function ask(prometheus: string, path: string): Promise<unknown> {
  const answer = await fetch(`${prometheus.replace(/\/$/, '')}${path}`, { signal: AbortSignal.timeout(LIMIT_MS) })
  if (answer.status !== 200) throw new Error(`status ${answer.status}`)
  return await answer.json()
}
