import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { caracal } from '../e2e/installation.ts'
import { type ApiServer, startApiServer } from './api-server.ts'
import { repository } from './place.ts'
import { tool } from './processes.ts'

const PRODUCTION = ['infra/helm/caracal', '--values', 'infra/helm/caracal/values.production.yaml']
const ROLES = ['api', 'sts', 'gateway', 'audit', 'coordinator'] as const

let server: ApiServer
let rendered: string
let namespace: string
let count = 0

beforeAll(async () => {
  server = await startApiServer()
  rendered = execFileSync(tool('helm-4'), ['template', 'caracal', ...PRODUCTION, '--namespace', 'caracal'], {
    encoding: 'utf8',
    cwd: repository,
    maxBuffer: 1 << 26,
  })
}, 300_000)
afterAll(() => server?.stop())

beforeEach(() => {
  count += 1
  namespace = `caracal-${count}`
  server.kubectl(['create', 'namespace', namespace])
})

type Told = { decision: string; gates: { id: string; state: string; evidence: string }[]; advice?: string[] }

async function check(...args: string[]) {
  const ran = await caracal(['--json', 'rollout', 'check', '--namespace', namespace, '--window', '0', ...args], server.environment)
  expect(ran.stdout, ran.stderr).not.toBe('')
  const told = JSON.parse(ran.stdout) as Told
  const stateOf = (id: string) => told.gates.filter((one) => one.id === id).map(({ state }) => state)
  return { code: ran.code, told, stateOf, evidence: told.gates.map(({ evidence }) => evidence).join('\n') }
}

const plan = (...args: string[]) => caracal(['--json', 'rollout', 'plan', '--namespace', namespace, ...args], server.environment)

const meta = (name: string, component: string) => ({
  name,
  namespace,
  labels: {
    'app.kubernetes.io/name': 'caracal',
    'app.kubernetes.io/instance': 'caracal',
    'app.kubernetes.io/part-of': 'caracal',
    'app.kubernetes.io/component': component,
  },
})

const pod = (component: string) => ({ containers: [{ name: component, image: `caracal:1@sha256:${'0'.repeat(64)}` }] })

/** What Helm keeps of a revision. */
function revision(number: number, status: string) {
  const release = {
    name: 'caracal',
    version: number,
    info: { status },
    config: { global: { mode: 'stable' } },
    chart: { metadata: { name: 'caracal', version: '0.1.0', appVersion: '0.1.0' } },
    manifest: rendered,
  }
  server.apply({
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'helm.sh/release.v1',
    metadata: {
      name: `sh.helm.release.v1.caracal.v${number}`,
      namespace,
      labels: { owner: 'helm', name: 'caracal', version: String(number), status },
    },
    stringData: { release: gzipSync(JSON.stringify(release)).toString('base64') },
  })
}

function runtimeSecret(leaveOut: string[] = []) {
  const made = execFileSync(
    process.execPath,
    [
      join(repository, 'apps/cli/src/main.ts'),
      '--json',
      'secrets',
      'generate',
      '--namespace',
      namespace,
      '--database-host',
      'db.internal',
      '--redis-host',
      'redis.internal',
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const secret = JSON.parse(made) as { stringData: Record<string, string> }
  for (const key of leaveOut) delete secret.stringData[key]
  server.apply(secret)
}

function workload(component: string, status: object) {
  const labels = { 'app.kubernetes.io/component': component, 'app.kubernetes.io/instance': 'caracal' }
  const metadata = meta(`caracal-${component}`, component)
  const template = { metadata: { labels: metadata.labels }, spec: pod(component) }
  const stateful = component === 'sts' || component === 'gateway'
  const spec = { replicas: 2, selector: { matchLabels: labels }, template }
  server.apply({
    apiVersion: 'apps/v1',
    kind: stateful ? 'StatefulSet' : 'Deployment',
    metadata,
    spec: stateful ? { ...spec, serviceName: `caracal-${component}-headless` } : spec,
    status: { observedGeneration: 1, replicas: 2, ...status },
  })
}

function renderFile(text: string): string {
  const path = join(server.folder, `render-${count}.yaml`)
  writeFileSync(path, text)
  return path
}

describe('before a rollout', () => {
  test('[3-02] the chart’s production render agrees with what the processes take, and the live Secret has its keys', async () => {
    runtimeSecret()
    const { code, stateOf, told } = await check('--phase', 'pre', '--render', renderFile(rendered))
    expect([stateOf('G1'), code], JSON.stringify(told.gates)).toEqual([['go'], 0])
  })

  test.each<[string, (text: string) => string, string]>([
    ['another port', (text) => text.replace('containerPort: 8081', 'containerPort: 8082'), 'not 8081'],
    ['another argument', (text) => text.replace(/- serve\n(\s+)- sts/, '- serve\n$1- api'), 'not serve sts'],
    ['an unknown setting', (text) => text.replace('- name: CARACAL_MODE', '- name: CARACAL_MOOD'), 'CARACAL_MOOD'],
    ['a key that is not mounted', (text) => text.replaceAll('key: auditHmacKey', 'key: auditKey'), 'auditHmacKey'],
    ['a key without its setting', (text) => text.replaceAll('ZONE_KEK_FILE', 'OTEL_KEK'), 'ZONE_KEK_FILE'],
    [
      'a role that is gone',
      (text) => text.replaceAll('app.kubernetes.io/component: coordinator', 'app.kubernetes.io/component: other'),
      'no workload of coordinator',
    ],
  ])('[3-02] a render with %s stops: 3, and names it', async (_, mutate, words) => {
    runtimeSecret()
    const mutated = mutate(rendered)
    expect(mutated).not.toBe(rendered)
    const { code, stateOf, evidence } = await check('--phase', 'pre', '--render', renderFile(mutated))
    expect([code, stateOf('G1')]).toEqual([3, ['stop']])
    expect(evidence).toContain(words)
  })

  test('[3-02] a key that the live Secret lacks stops, by its name', async () => {
    runtimeSecret(['zoneKek'])
    const { code, evidence } = await check('--phase', 'pre', '--render', renderFile(rendered))
    expect(code).toBe(3)
    expect(evidence).toContain('caracal-runtime lacks zoneKek')
  })

  test('[3-03] values that render go on; values that the chart refuses stop with its words; without values it cannot be told', async () => {
    runtimeSecret()
    const good = await check('--phase', 'pre', '--chart', 'infra/helm/caracal', '--values', 'infra/helm/caracal/values.production.yaml')
    expect([good.code, good.stateOf('G2')], good.evidence).toEqual([0, ['go']])
    const bare = await check('--phase', 'pre', '--chart', 'infra/helm/caracal')
    expect([bare.code, bare.stateOf('G2')]).toEqual([3, ['stop']])
    expect((await check('--phase', 'pre')).code).toBe(1)
  })

  test('[3-07] without a plan of what runs it stops; with one, and evidence of backups, it goes; another revision makes it stale', async () => {
    runtimeSecret()
    revision(1, 'superseded')
    revision(2, 'deployed')
    workload('api', { updatedReplicas: 2, readyReplicas: 2 })
    const render = renderFile(rendered)
    const without = await check('--phase', 'pre', '--render', render)
    expect([without.code, without.stateOf('G3'), without.stateOf('G4')]).toEqual([3, ['stop'], ['stop']])

    const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString()
    const written = await plan('--backup-at', hoursAgo(2), '--drill-at', hoursAgo(48))
    expect(written.code, written.stderr).toBe(0)
    expect(JSON.parse(written.stdout)).toMatchObject({
      revision: 2,
      verdict: 'roll-forward-only',
      images: { 'caracal-api': pod('api').containers[0]?.image },
    })
    const planned = await check('--phase', 'pre', '--render', render)
    expect([planned.code, planned.stateOf('G3'), planned.stateOf('G4')], planned.evidence).toEqual([0, ['go'], ['go']])

    expect((await plan('--backup-at', hoursAgo(27))).code).toBe(0)
    const old = await check('--phase', 'pre', '--render', render)
    expect([old.code, old.stateOf('G4')]).toEqual([3, ['stop']])
    revision(2, 'superseded')
    revision(3, 'deployed')
    const moved = await check('--phase', 'pre', '--render', render)
    expect([moved.code, moved.stateOf('G3')]).toEqual([3, ['stop']])
  })
})

describe('during and after a rollout', () => {
  const job = (status: object) =>
    server.apply({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: meta('caracal-migrate', 'migrate'),
      spec: { template: { spec: { ...pod('migrate'), restartPolicy: 'Never' } } },
      status,
    })

  test('[3-11] [3-12] a migration Job that failed stops: S1, with what to do by the plan', async () => {
    for (const role of ROLES) workload(role, { updatedReplicas: 2, readyReplicas: 2 })
    const now = new Date().toISOString()
    const conditions = ['FailureTarget', 'Failed'].map((type) => ({
      type,
      status: 'True',
      reason: 'BackoffLimitExceeded',
      message: 'Job has reached the specified backoff limit',
      lastTransitionTime: now,
    }))
    job({ failed: 3, startTime: now, conditions })
    const { code, stateOf, told } = await check('--phase', 'during')
    expect([code, stateOf('S1')], JSON.stringify(told)).toEqual([3, ['stop']])
    expect(told.advice?.join('\n')).toContain('BackoffLimitExceeded')
    expect(told.advice?.at(-1)).toContain('roll forward')
  })

  test('[3-11] an STS that does not become ready stops after three minutes, not before: S2', async () => {
    const aged = (seconds: number) =>
      server.apply({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: meta('caracal-sts-0', 'sts'),
        spec: pod('sts'),
        status: {
          phase: 'Running',
          startTime: new Date(Date.now() - seconds * 1000).toISOString(),
          conditions: [{ type: 'Ready', status: 'False' }],
        },
      })
    aged(60)
    expect((await check('--phase', 'during')).stateOf('S2')).toEqual(['go'])
    aged(200)
    const { code, stateOf, evidence } = await check('--phase', 'during')
    expect([code, stateOf('S2')]).toEqual([3, ['stop']])
    expect(evidence).toContain('caracal-sts-0: not ready after')
  })

  test('[3-05] pods that are still rolled are waited for during a rollout, and stop after it', async () => {
    for (const role of ROLES) workload(role, { updatedReplicas: role === 'audit' ? 1 : 2, readyReplicas: 2 })
    const during = await check('--phase', 'during')
    expect(during.stateOf('G6')[0]).toBe('wait')
    const after = await check('--phase', 'post')
    expect([after.code, after.stateOf('G6')[0]]).toEqual([3, 'stop'])
    expect(after.evidence).toContain('caracal-audit: 1 updated')
  })

  test('[3-08] Helm’s own end is waited for; a revision that failed stops', async () => {
    for (const role of ROLES) workload(role, { updatedReplicas: 2, readyReplicas: 2 })
    const states = async () => {
      const { told } = await check('--phase', 'during')
      return told.gates.filter(({ evidence }) => evidence.startsWith('revision ')).map(({ state, evidence }) => `${state}: ${evidence}`)
    }
    revision(1, 'superseded')
    revision(2, 'pending-upgrade')
    expect(await states()).toEqual(['wait: revision 2 pending-upgrade'])
    revision(2, 'deployed')
    expect(await states()).toEqual(['go: revision 2 deployed'])
    revision(2, 'failed')
    expect(await states()).toEqual(['stop: revision 2 failed'])
  })

  test('[2-06] [2-21] certificates of Ingresses must hold for two weeks more', async () => {
    const ingress = {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'Ingress',
      metadata: meta('caracal-gateway', 'gateway'),
      spec: {
        tls: [{ hosts: ['gateway.company.dev'], secretName: 'gateway-tls' }],
        defaultBackend: { service: { name: 'caracal-gateway', port: { number: 8081 } } },
      },
    }
    server.apply(ingress)
    expect((await check()).stateOf('G13')).toEqual(['stop'])
    const days = (count: number) => {
      const [key, certificate] = ['key', 'crt'].map((end) => join(server.folder, `tls.${end}`)) as [string, string]
      const subject = ['-subj', '/CN=gateway.company.dev', '-days', String(count)]
      execFileSync(
        'openssl',
        ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', certificate, ...subject],
        { stdio: 'ignore' },
      )
      server.kubectl(['-n', namespace, 'delete', 'secret', 'gateway-tls', '--ignore-not-found'])
      server.kubectl(['-n', namespace, 'create', 'secret', 'tls', 'gateway-tls', '--key', key, '--cert', certificate])
    }
    days(10)
    expect((await check()).stateOf('G13')).toEqual(['stop'])
    days(60)
    expect((await check()).stateOf('G13')).toEqual(['go'])
  })
})
