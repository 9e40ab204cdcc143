import { execFileSync } from 'node:child_process'
import { renameSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/*
 * A program of its own: what Prometheus' discovery by Endpoints sees, for a Prometheus that was built without it. Each second it writes the
 * targets of a namespace, with the labels that discovery gives them, for `file_sd_configs`.
 *   node discover-targets.ts <kubectl> <namespace> <file>
 */
const [kubectl = '', namespace = '', file = ''] = process.argv.slice(2)

type Endpoints = {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> }
  readonly subsets?: readonly {
    readonly addresses?: readonly Address[]
    readonly notReadyAddresses?: readonly Address[]
    readonly ports?: readonly { readonly name?: string; readonly port: number }[]
  }[]
}
type Address = { readonly ip: string; readonly targetRef?: { readonly name: string } }

const meta = (name: string) => `__meta_kubernetes_${name.replace(/[^a-zA-Z0-9_]/g, '_')}`

function targetsOf({ metadata, subsets = [] }: Endpoints): readonly object[] {
  const labels = Object.entries(metadata.labels ?? {}).map(([label, value]) => [meta(`service_label_${label}`), value])
  return subsets.flatMap(({ addresses = [], notReadyAddresses = [], ports = [] }) =>
    [...addresses, ...notReadyAddresses].flatMap(({ ip, targetRef }) =>
      ports.map(({ name = '', port }) => ({
        targets: [`${ip}:${port}`],
        labels: {
          ...Object.fromEntries(labels),
          [meta('namespace')]: namespace,
          [meta('service_name')]: metadata.name,
          [meta('endpoint_port_name')]: name,
          [meta('pod_name')]: targetRef?.name ?? '',
        },
      })),
    ),
  )
}

for (;;) {
  try {
    const found = execFileSync(kubectl, ['-n', namespace, 'get', 'endpoints', '-o', 'json'], { encoding: 'utf8', stdio: 'pipe' })
    const { items } = JSON.parse(found) as { items: readonly Endpoints[] }
    writeFileSync(`${file}.new`, JSON.stringify(items.flatMap(targetsOf)))
    renameSync(`${file}.new`, file)
  } catch (error) {
    process.stderr.write(`${error}\n`)
  }
  await sleep(1_000)
}
