import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { IMAGE, PUBLISHED, PUBLISHED_TAG } from './images.ts'
import {
  type HelmVersion,
  helm,
  installCommand,
  kubectl,
  NAMESPACE,
  type Overlay,
  pods,
  prepare,
  prepareAsPrinted,
  remove,
  shell,
} from './installation.ts'
import { block } from './page-commands.ts'
import { run, until } from './processes.ts'

/** From `helm upgrade --install` to every pod Ready, images present. */
const INSTALL_SECONDS = 90
const WAIT = ['--wait', '--timeout', '300s'] as const

const REPLICAS: Readonly<Record<Overlay, Readonly<Record<string, number>>>> = {
  production: { api: 2, sts: 3, gateway: 3, audit: 2, coordinator: 2 },
  rc: { api: 2, sts: 2, gateway: 2, audit: 2, coordinator: 2 },
  dev: { api: 1, sts: 1, gateway: 1, audit: 1, coordinator: 1, postgres: 1 },
}

/** Pods of services; with the old ones that still finish their calls only where that is asked. */
const services = (ended = true) =>
  pods().filter(
    ({ component, ending }) =>
      (ended ? !ending : true) && component !== 'migrate' && component !== 'schema-check' && component !== 'canary',
  )
const counted = () => {
  const counts: Record<string, number> = {}
  for (const { component, ready } of services()) if (ready) counts[component] = (counts[component] ?? 0) + 1
  return counts
}
/** Helm does not wait for the pods that an autoscaler adds after it. */
const allReady = (overlay: Overlay, image: string) =>
  expect
    .poll(() => ({ counts: counted(), images: [...new Set(ours().map((pod) => pod.image))] }), { timeout: 120_000, interval: 500 })
    .toEqual({ counts: REPLICAS[overlay], images: [image] })
const ours = () => services().filter(({ component }) => component !== 'postgres')
const claims = () => kubectl('-n', NAMESPACE, 'get', 'pvc', '-o', 'jsonpath={range .items[*]}{.metadata.name}={.metadata.uid}{"\\n"}{end}')
const image = (kind: string) => kubectl('-n', NAMESPACE, 'get', kind, '-o', 'jsonpath={.spec.template.spec.containers[0].image}')

/** What pages print for a running installation; `<revision>` is the one before. */
const COMMANDS = [
  'kubectl -n caracal rollout status deploy/caracal-api --timeout 120s',
  'kubectl -n caracal rollout status deploy/caracal-audit --timeout 120s',
  'kubectl -n caracal rollout status deploy/caracal-coordinator --timeout 120s',
  'kubectl -n caracal rollout status statefulset/caracal-sts --timeout 120s',
  'kubectl -n caracal rollout status statefulset/caracal-gateway --timeout 120s',
  'kubectl -n caracal get pods,svc',
  'helm -n caracal history caracal',
]

const INSTALL =
  'helm upgrade --install caracal infra/helm/caracal --namespace caracal --create-namespace --values infra/helm/caracal/values.production.yaml'
/** The page's own words for it. */
const PRINTED = block('deploy-with-helm.md', '--create-namespace')

const PORTS: Readonly<Record<string, number>> = { api: 3000, sts: 8080, gateway: 8081, audit: 9090, coordinator: 4000 }

const CASES: readonly (readonly [Overlay, HelmVersion])[] = [
  ['production', 'helm-4'],
  ['production', 'helm-3'],
  ['rc', 'helm-4'],
  ['rc', 'helm-3'],
  ['dev', 'helm-4'],
  ['dev', 'helm-3'],
]

describe.each(CASES)('%s with %s', (overlay, version) => {
  // Production as the page prints it, with nothing added; the others with values for what this node has not.
  const asPrinted = overlay === 'production'
  const [first, next] = asPrinted ? [`${PUBLISHED}:${PUBLISHED_TAG}`, `${PUBLISHED}:next`] : [`${IMAGE}:dev`, `${IMAGE}:next`]
  let claimsAtFirst = ''
  beforeAll(() => (asPrinted ? prepareAsPrinted() : prepare(overlay)))
  afterAll(() => remove())

  test(`${asPrinted ? '[0-15] ' : ''}the install command brings every pod to Ready within ${INSTALL_SECONDS} s`, async (context) => {
    const began = performance.now()
    if (asPrinted) {
      expect(PRINTED.replaceAll(/\s*\\\n\s*/g, ' ').trim()).toBe(INSTALL)
      shell(PRINTED, version)
    } else helm(version, ...installCommand(overlay, ...WAIT))
    await allReady(overlay, first)
    const seconds = (performance.now() - began) / 1000
    process.stderr.write(`  ${overlay}, ${version}: all Ready ${seconds.toFixed(1)} s after the install began\n`)
    context.annotate(`all Ready after ${seconds.toFixed(1)} s`)
    claimsAtFirst = claims()
  })

  test('[0-01] [0-02] [0-03] three Deployments and two StatefulSets with a claim for each replica', () => {
    const names = (kind: string) => kubectl('-n', NAMESPACE, 'get', kind, '-o', 'jsonpath={.items[*].metadata.name}').split(' ').sort()
    expect(names('deployments')).toEqual(['caracal-api', 'caracal-audit', 'caracal-coordinator'])
    const stores = overlay === 'dev' ? ['caracal-postgres'] : []
    expect(names('statefulsets')).toEqual(['caracal-gateway', ...stores, 'caracal-sts'])
    const replicas = (REPLICAS[overlay].sts ?? 0) + (REPLICAS[overlay].gateway ?? 0)
    expect(claimsAtFirst.match(/^replay-/gm)).toHaveLength(replicas)
  })

  // In dev the stores themselves are pods.
  if (overlay !== 'dev')
    test('[0-04] [3-04] the migration had ended before the first pod of a service was made', () => {
      const time = (kind: string, path: string) =>
        kubectl('-n', NAMESPACE, 'get', kind, '-o', `jsonpath=${path}`).split(' ').filter(Boolean).map(Date.parse)
      const [migrated] = time('job/caracal-migrate', '{.status.completionTime}')
      const made = time('pods', '{.items[?(@.metadata.labels.app\\.kubernetes\\.io/component!="migrate")].metadata.creationTimestamp}')
      expect(made.length).toBeGreaterThan(9)
      expect(Math.min(...made)).toBeGreaterThanOrEqual(migrated ?? Number.POSITIVE_INFINITY)
    })

  test('[0-17] [0-22] [3-05] every Service answers /health and /ready on its port', () => {
    for (const [component, port] of Object.entries(PORTS)) {
      const address = kubectl('-n', NAMESPACE, 'get', 'service', `caracal-${component}`, '-o', 'jsonpath={.spec.clusterIP}')
      for (const path of ['/health', '/ready']) {
        const status = run(['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', `http://${address}:${port}${path}`])
        expect([component, path, status]).toEqual([component, path, '200'])
      }
    }
  })

  test('[P-142] every pod says on its metrics port what it is and in which mode', () => {
    const mode = overlay === 'production' ? 'stable' : overlay
    for (const { name, component, ip } of ours()) {
      const metrics = run(['curl', '-s', `http://${ip}:9464/metrics`])
      const own = metrics.split('\n').find((line) => line.startsWith('caracal_build_info{'))
      expect(own, name).toContain(`role="${component}"`)
      expect(own, name).toContain(`mode="${mode}"`)
    }
  })

  test.each(COMMANDS)('[0-21] [0-23] [3-10] `%s` works as printed', (line) => {
    expect(shell(line, version)).not.toBe('')
  })

  test('[2-23] helm test walks the whole path inside the cluster', () => {
    const said = helm(version, 'test', 'caracal', '-n', NAMESPACE, '--logs')
    expect(said).toMatch(/ok\s+inclusion proof/)
    expect(said).toMatch(/ok\s+revocation/)
    expect(said).not.toContain('FAIL')
  })

  test('[0-23] [P-147] an upgrade to a new tag replaces every pod and keeps the claims', async () => {
    const changed = [...WAIT, '--set', 'global.tag=next', '--set', 'global.logLevel=warn']
    if (asPrinted) shell(`${PRINTED.trimEnd()} ${changed.join(' ')}`, version)
    else helm(version, ...installCommand(overlay, ...changed))
    await allReady(overlay, next)
    expect(claims()).toBe(claimsAtFirst)
  })

  test('[0-23] a rollback brings the tag of before back, with the same claims', async () => {
    expect(shell('helm -n caracal history caracal', version)).toMatch(/2\s.*deployed/)
    shell('helm -n caracal rollback caracal 1 --wait --timeout 300s', version)
    expect(image('deploy/caracal-api')).toBe(first)
    expect(image('statefulset/caracal-sts')).toBe(first)
    await allReady(overlay, first)
    expect(claims()).toBe(claimsAtFirst)
  })

  test('uninstalling removes every workload and keeps the claims that hold evidence', async () => {
    helm(version, 'uninstall', 'caracal', '-n', NAMESPACE, '--wait', '--timeout', '300s')
    await until('every pod has ended', 120, () => services(false).length === 0)
    expect(claims().match(/^replay-/gm)).toEqual(claimsAtFirst.match(/^replay-/gm))
    const left = kubectl('-n', NAMESPACE, 'get', 'deploy,statefulset,svc,networkpolicy,hpa,pdb', '-o', 'name').trim()
    expect(left).toBe('')
  })
})
