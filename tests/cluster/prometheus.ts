import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { kubectl, NAMESPACE } from './installation.ts'
import { inFolder, NODE_ADDRESS, repository } from './place.ts'
import { run, startProcess, stopProcess, tool, until } from './processes.ts'

/** Where the Prometheus of the tests answers, in the cluster's network. */
export const PROMETHEUS = `http://${NODE_ADDRESS}:9091`

/** What `discover-targets.ts` writes: Debian's Prometheus does not ask Kubernetes itself. */
const TARGETS = inFolder('prometheus/targets.json')

type Relabeling = { readonly action: string; readonly targetLabel?: string; readonly replacement?: string }
type Monitor = {
  readonly metadata: { readonly name: string }
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> }
    readonly endpoints: readonly { readonly port: string; readonly path: string; readonly relabelings?: readonly Relabeling[] }[]
  }
}
type Rules = { readonly spec: { readonly groups: readonly object[] } }

const listed = <T>(kind: string): readonly T[] =>
  (JSON.parse(kubectl('-n', NAMESPACE, 'get', kind, '-o', 'json')) as { items: readonly T[] }).items

/**
 * A real Prometheus with what the release's ServiceMonitors and rules say, as its operator would translate them, but a scrape every two
 * seconds. It finds the pods by itself from then on.
 */
export async function startPrometheus(): Promise<void> {
  execFileSync(join(repository, 'tests/chart/install-promtool.sh'), { stdio: ['ignore', 'inherit', 'inherit'] })
  mkdirSync(inFolder('prometheus'), { recursive: true })
  const rules = listed<Rules>('prometheusrules.monitoring.coreos.com').flatMap(({ spec }) => spec.groups)
  const config = {
    global: { scrape_interval: '2s', scrape_timeout: '2s', evaluation_interval: '2s' },
    rule_files: [inFolder('prometheus/rules.yaml')],
    scrape_configs: listed<Monitor>('servicemonitors.monitoring.coreos.com').flatMap(scrapesOf),
  }
  writeFileSync(inFolder('prometheus/rules.yaml'), JSON.stringify({ groups: rules }))
  writeFileSync(inFolder('prometheus/prometheus.yaml'), JSON.stringify(config))
  startProcess('discovery', [
    'env',
    `KUBECONFIG=${inFolder('admin.conf')}`,
    join(repository, 'node_modules/.bin/node'),
    join(repository, 'tests/cluster/discover-targets.ts'),
    tool('kubectl'),
    NAMESPACE,
    TARGETS,
  ])
  startProcess('prometheus', [
    'prometheus',
    `--config.file=${inFolder('prometheus/prometheus.yaml')}`,
    `--storage.tsdb.path=${inFolder('prometheus/data')}`,
    `--web.listen-address=${PROMETHEUS.slice('http://'.length)}`,
  ])
  await until('Prometheus is ready', 60, () => run(['curl', '-sf', `${PROMETHEUS}/-/ready`]).includes('Ready'))
}

export async function stopPrometheus(): Promise<void> {
  await stopProcess('prometheus')
  await stopProcess('discovery')
}

/** Names of the alerts that fire. */
export function firingAlerts(): readonly string[] {
  const { data } = JSON.parse(run(['curl', '-sf', `${PROMETHEUS}/api/v1/alerts`])) as {
    data: { alerts: readonly { state: string; labels: Readonly<Record<string, string>> }[] }
  }
  return data.alerts.flatMap(({ state, labels }) => (state === 'firing' ? [labels.alertname ?? ''] : []))
}

function scrapesOf({ metadata, spec }: Monitor): readonly object[] {
  const meta = (name: string) => `__meta_kubernetes_${name}`
  const service = (label: string) => meta(`service_label_${label.replace(/[^a-zA-Z0-9]/g, '_')}`)
  const keep = (source: string, regex: string) => ({ action: 'keep', source_labels: [source], regex })
  const take = (source: string, target: string) => ({ source_labels: [source], target_label: target })
  return spec.endpoints.map(({ port, path, relabelings = [] }, at) => ({
    job_name: `${metadata.name}/${at}`,
    metrics_path: path,
    file_sd_configs: [{ files: [TARGETS], refresh_interval: '1s' }],
    relabel_configs: [
      ...Object.entries(spec.selector.matchLabels).map(([label, value]) => keep(service(label), value)),
      keep(meta('endpoint_port_name'), port),
      take(meta('namespace'), 'namespace'),
      take(meta('service_name'), 'service'),
      take(meta('service_name'), 'job'),
      take(meta('pod_name'), 'pod'),
      ...relabelings.map(({ action, targetLabel, replacement }) => ({ action, target_label: targetLabel, replacement })),
    ],
  }))
}
