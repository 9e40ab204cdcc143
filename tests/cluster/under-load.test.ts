import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Outcome, Plan } from './governed-load.ts'
import { helm, installCommand, kubectl, NAMESPACE, pods, prepare, remove } from './installation.ts'
import { inFolder, NODE_ADDRESS, repository } from './place.ts'
import { environment, inNetwork, run, tool, until } from './processes.ts'
import { firingAlerts, PROMETHEUS, startPrometheus, stopPrometheus } from './prometheus.ts'
import { startPostgres, stopPostgres } from './stores.ts'

const INSTALL = installCommand('production', '--wait', '--timeout', '400s')
const UPSTREAM = { host: NODE_ADDRESS, port: 9900 }
const RESOURCE = 'https://load.example/'
const ROLES = ['api', 'sts', 'gateway', 'audit', 'coordinator'] as const
const PORTS = { api: 3000, sts: 8080, gateway: 8081, audit: 9090 } as const

const documents = `
{ kind: Zone, name: load }
---
{ kind: Application, zone: load, name: agent, labels: [agents] }
---
kind: Provider
zone: load
name: key
method: api_key
placement: { in: header, name: X-Api-Key }
hosts: ["${UPSTREAM.host}:${UPSTREAM.port}"]
secret: { fromEnv: UPSTREAM_KEY }
---
kind: Resource
zone: load
name: load
identifier: ${RESOURCE}
upstream: http://${UPSTREAM.host}:${UPSTREAM.port}
provider: key
egressAllow: [${UPSTREAM.host}/32]
scopes: ["load:read"]
operations:
  - { method: GET, path: "/items/{id}", scope: "load:read" }
---
kind: Policy
zone: load
name: load
rules:
  - { id: use, allow: ["load:*"], on: ["${RESOURCE}"], for: { labels: [agents] } }
`

let plan: Plan
/** The command line with a token that may read the evidence. */
let auditor: (...args: readonly string[]) => string
const caracalProgram = [join(repository, 'node_modules/.bin/node'), join(repository, 'apps/cli/src/main.ts')]
const decoded = (key: string) =>
  Buffer.from(kubectl('-n', NAMESPACE, 'get', 'secret', 'caracal-runtime', '-o', `jsonpath={.data.${key}}`), 'base64')
const addressOf = (component: keyof typeof PORTS) =>
  `http://${kubectl('-n', NAMESPACE, 'get', 'service', `caracal-${component}`, '-o', 'jsonpath={.spec.clusterIP}')}:${PORTS[component]}`

const services = () => pods().filter(({ component }) => (ROLES as readonly string[]).includes(component))
const everybodyReady = () => {
  const now = services()
  const live = now.filter(({ ending }) => !ending)
  return (
    now.length === live.length &&
    live.every(({ ready }) => ready) &&
    ROLES.every((role) => live.filter((pod) => pod.component === role).length >= 2)
  )
}

beforeAll(async () => {
  prepare('production')
  helm('helm-4', ...INSTALL)
  await until('every pod is Ready', 120, everybodyReady)
  await startPrometheus()
  const where = {
    CARACAL_API_URL: addressOf('api'),
    CARACAL_STS_URL: addressOf('sts'),
    CARACAL_GATEWAY_URL: addressOf('gateway'),
    CARACAL_AUDIT_URL: addressOf('audit'),
    UPSTREAM_KEY: randomBytes(32).toString('hex'),
  }
  const as = (token: string) => {
    const settings = Object.entries({ ...where, CARACAL_TOKEN: token }).map(([name, value]) => `${name}=${value}`)
    return (...args: readonly string[]) => run(['env', ...settings, ...caracalProgram, ...args])
  }
  const cli = as(decoded('adminToken').toString())
  writeFileSync(inFolder('load.yaml'), documents)
  cli('apply', '-f', inFolder('load.yaml'))
  const made = JSON.parse(cli('--json', 'credential', 'create', 'agent', '--zone', 'load')) as Record<'client_id' | 'client_secret', string>
  const { token } = JSON.parse(cli('--json', 'token', 'create', 'reader', '--role', 'auditor', '--zone', 'load')) as { token: string }
  auditor = as(token)
  plan = {
    sts: where.CARACAL_STS_URL,
    gateway: where.CARACAL_GATEWAY_URL,
    basic: `Basic ${Buffer.from(`${made.client_id}:${made.client_secret}`).toString('base64')}`,
    resource: RESOURCE,
    perSecond: 100,
    upstream: UPSTREAM,
  }
})
afterAll(async () => {
  await stopPrometheus()
  remove()
})

/** Does `work` while governed calls run at 100 a second; resolves with what became of them. */
async function underLoad(work: () => Promise<void>): Promise<Outcome> {
  const [program = '', ...args] = inNetwork([
    join(repository, 'node_modules/.bin/node'),
    join(repository, 'tests/cluster/governed-load.ts'),
  ])
  const child = spawn(program, args, { env: { ...environment(), LOAD: JSON.stringify(plan) }, stdio: ['pipe', 'pipe', 'pipe'] })
  let [said, complained] = ['', '']
  child.stdout.on('data', (chunk) => {
    said += String(chunk)
  })
  child.stderr.on('data', (chunk) => {
    complained += String(chunk)
  })
  const ended = once(child, 'close')
  try {
    await until('the load runs', 30, () => child.exitCode !== null || complained.includes('running'))
    if (child.exitCode !== null) throw new Error(`the load did not begin: ${complained}`)
    await sleep(2_000)
    await work()
    await sleep(2_000)
  } finally {
    child.stdin.end()
    await ended
  }
  if (said === '') throw new Error(`the load ended without a word: ${complained}`)
  return JSON.parse(said) as Outcome
}

/** Prints what happened, then waits until the ledger holds every call that reached the upstream, each once. */
async function expectEvidence({ calls, answered, failures, seen, slowest }: Outcome): Promise<void> {
  process.stderr.write(`  ${calls} calls, ${answered} answered, ${failures.length} failed, slowest ${slowest} ms, ${seen.length} effects\n`)
  expect(answered).toBeLessThanOrEqual(seen.length)
  const missing = () => {
    auditor('audit', 'export', '--zone', 'load', '--output', inFolder('load.bundle'))
    const events = readFileSync(inFolder('load.bundle'), 'utf8')
      .split('\n')
      .filter((line) => line.includes('"kind":"event"'))
      .map((line) => JSON.parse((JSON.parse(line) as { event: string }).event) as { type: string; operation?: { path?: string } })
    const allowed = events.flatMap(({ type, operation }) => (type === 'call.allowed' && operation?.path ? [operation.path] : []))
    const decided = new Set(allowed)
    expect(decided.size, 'no decision twice').toBe(allowed.length)
    return seen.filter((path) => !decided.has(path))
  }
  await expect.poll(missing, { timeout: 120_000, interval: 2_000, message: 'effects without evidence' }).toEqual([])
}

/** A program in the cluster's network, beside the test. */
function start(command: readonly string[]): { said: () => string; ended: Promise<number | null> } {
  const [program = '', ...args] = inNetwork(command)
  const env = { ...environment(), KUBECTL: tool('kubectl') }
  const child = spawn(program, args, { env, cwd: repository, stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  child.stdout.on('data', (chunk) => {
    said += String(chunk)
  })
  return { said: () => said, ended: once(child, 'close').then(() => child.exitCode) }
}

type Gate = { readonly id: string; readonly state: string; readonly evidence: string }

/** `caracal rollout check` as an operator runs it: its exit code, and the gates that neither hold nor do not apply. */
async function rolloutCheck(...args: readonly string[]): Promise<{ code: number | null; open: readonly Gate[] }> {
  const check = start([...caracalProgram, '--json', 'rollout', 'check', '--window', '5', ...args])
  const code = await check.ended
  const { gates } = JSON.parse(check.said()) as { gates: readonly Gate[] }
  return { code, open: gates.filter(({ state }) => state !== 'go' && state !== 'none') }
}

test('[0-23] [3-08] [P-142] every workload is upgraded while 100 governed calls a second run: none fails, none lacks its evidence', async () => {
  const outcome = await underLoad(async () => {
    const upgrade = start([tool('helm-4'), ...INSTALL, '--set', 'global.tag=next'])
    await until('Helm has begun', 60, () => helm('helm-4', 'history', 'caracal', '-n', NAMESPACE).includes('pending-upgrade'))
    const watched = await rolloutCheck('--watch', '--timeout', '400', '--prometheus', PROMETHEUS)
    expect([watched.code, watched.open], JSON.stringify(watched)).toEqual([0, []])
    expect(await upgrade.ended).toBe(0)
    expect(firingAlerts()).toEqual([])
    await until(
      'every pod is of the new version',
      200,
      () => everybodyReady() && services().every(({ image }) => image === 'localhost/caracal:next'),
    )
  })
  expect(outcome.failures).toEqual([])
  expect(outcome.calls).toBeGreaterThan(1_000)
  await expectEvidence(outcome)
})

test('a pod of each workload that is deleted by force takes no evidence with it, and calls go on', async () => {
  const outcome = await underLoad(async () => {
    for (const role of ROLES) {
      const [victim] = services().filter(({ component, ready }) => component === role && ready)
      kubectl('-n', NAMESPACE, 'delete', 'pod', victim?.name ?? '', '--force', '--grace-period=0')
      await until(`${role} is complete again`, 180, everybodyReady)
    }
  })
  // What ran in a pod that was killed broke; nothing else did.
  expect(outcome.answered).toBeGreaterThan(outcome.calls * 0.95)
  await expectEvidence(outcome)
})

test('all pods at once, as when a node goes: what was decided is not lost, and everything comes back by itself', async () => {
  const outcome = await underLoad(async () => {
    kubectl('-n', NAMESPACE, 'delete', 'pods', '--all', '--force', '--grace-period=0')
    await until('every pod is Ready again', 240, everybodyReady)
    await sleep(5_000)
  })
  await expectEvidence(outcome)
  expect((await underLoad(() => sleep(3_000))).failures).toEqual([])
})

test('the database is away for 30 s: no pod restarts for it, nothing is lost', async () => {
  const restarts = () =>
    kubectl(
      '-n',
      NAMESPACE,
      'get',
      'pods',
      '-o',
      'jsonpath={range .items[*]}{.metadata.name}={.status.containerStatuses[0].restartCount} {end}',
    )
  const before = restarts()
  const outcome = await underLoad(async () => {
    await stopPostgres()
    await sleep(30_000)
    await startPostgres()
    await until('every pod is Ready', 120, everybodyReady)
  })
  expect(restarts()).toBe(before)
  await expectEvidence(outcome)
  expect((await underLoad(() => sleep(3_000))).failures).toEqual([])
})

test('keys between services are replaced in three steps while calls run: none fails', async () => {
  const keys = ['auditHmacKey', 'streamsHmacKey', 'gatewayStsHmacKey']
  const old = Object.fromEntries(keys.map((key) => [key, decoded(key).toString().trim()]))
  const fresh = Object.fromEntries(keys.map((key) => [key, randomBytes(32).toString('hex')]))
  const put = async (line: (key: string) => string) => {
    const stringData = Object.fromEntries(keys.map((key) => [key, line(key)]))
    const before = await reread()
    kubectl('-n', NAMESPACE, 'patch', 'secret', 'caracal-runtime', '--type=merge', '-p', JSON.stringify({ stringData }))
    // Each service reads it when Kubernetes has brought it: within about a minute.
    await until('every service has read the keys', 150, async () => {
      const now = await reread()
      return [...now].every(([pod, count]) => count > (before.get(pod) ?? 0))
    })
  }
  const outcome = await underLoad(async () => {
    await put((key) => `${old[key]}\n${fresh[key]}\n`)
    await put((key) => `${fresh[key]}\n${old[key]}\n`)
    await put((key) => `${fresh[key]}\n`)
  })
  expect(outcome.failures).toEqual([])
  await expectEvidence(outcome)
})

/** How often each pod has read changed settings. */
async function reread(): Promise<ReadonlyMap<string, number>> {
  const counts = services().map(({ name, ip }) => {
    const metrics = run(['curl', '-s', `http://${ip}:9464/metrics`])
    const found = metrics.match(/^caracal_settings_reread_total\S* (\d+)/gm) ?? []
    return [name, found.reduce((sum, line) => sum + Number(line.split(' ')[1]), 0)] as const
  })
  return new Map(counts)
}
