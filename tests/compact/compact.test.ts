import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { caracal } from '../e2e/installation.ts'
import type { CompactProcess } from './compact-process.ts'
import { call, mint, setUp } from './governed.ts'
import { type CompactStage, openStage } from './stage.ts'

let stage: CompactStage
let token = ''
let credential = ''

/** As the document makes them, with keys that are made faster. */
function certificates(folder: string): Record<string, string> {
  const make = (name: string) => {
    const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)]
    const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '365', '-subj', `/CN=caracal-${name}`]
    execFileSync('openssl', ['req', '-x509', ...made, '-keyout', key, '-out', certificate], { stdio: 'ignore' })
    return { key, certificate }
  }
  const [server, ca] = [make('gateway'), make('ca')]
  return { TLS_CERT_FILE: server.certificate, TLS_KEY_FILE: server.key, TLS_CA_FILE: ca.certificate }
}

/** `curl -k`, as the document has it: the status, 000 when nothing answers. */
function overTls(process: CompactProcess, path: string): Promise<string> {
  return new Promise((resolve) => {
    const args = ['-k', '-s', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '5']
    execFile('curl', [...args, `${process.url.replace('http:', 'https:')}${path}`], (_error, stdout) => resolve(stdout))
  })
}

beforeAll(async () => {
  stage = await openStage()
}, 60_000)
afterAll(() => stage?.stop(), 60_000)

test('[4-12] it waits for Postgres and its schema: healthy on both ports, not ready, and everything else is told to come again', async () => {
  await stage.server.end('SIGINT')
  const first = await stage.start()
  await expect.poll(() => first.probe('/health'), { timeout: 30_000 }).toBe(200)
  expect(
    await Promise.all([first.probe('/health', 'metrics'), first.probe('/livez'), first.probe('/ready'), first.probe('/r/notes/')]),
  ).toEqual([200, 200, 503, 503])
  const second = await stage.start()
  // A Gateway that asks for client certificates is asked without one.
  const files = certificates(stage.folder)
  const withTls = await stage.start({ ...files, AUTH_MODE: 'mtls' })
  await expect.poll(() => overTls(withTls, '/health'), { timeout: 30_000 }).toBe('200')
  expect(await overTls(withTls, '/ready')).toBe('503')
  await stage.server.start()
  // Both migrate the empty database at once, as two pods of one Deployment.
  await Promise.all([first.ready(), second.ready()])
  expect(await first.probe('/health')).toBe(200)
  await expect.poll(() => overTls(withTls, '/ready'), { timeout: 60_000 }).toBe('200')
  expect(await overTls(withTls, '/health')).toBe('200')
  expect(await withTls.end()).toBe(0)
  stage.started.pop()
}, 120_000)

test('[4-26] schema commands after it, in either order and repeated, change nothing and succeed; the password has / + and =', async () => {
  for (const args of [
    ['db', 'init'],
    ['db', 'migrate', 'up'],
    ['db', 'migrate', 'up'],
    ['db', 'init'],
  ])
    expect(await caracal(args, stage.environment)).toMatchObject({ code: 0 })
}, 60_000)

test('the first token is made in the database; with it the canary passes at each process', async () => {
  token = await stage.firstToken()
  for (const gateway of stage.started) {
    const ran = await gateway.caracal(['--json', 'canary'], { CARACAL_TOKEN: token })
    expect(ran.code, ran.stdout + ran.stderr + gateway.said()).toBe(0)
  }
  credential = await setUp(stage.started[0] as CompactProcess, token, stage.upstream.url)
}, 120_000)

test('[4-23] one scrape has the metrics of all roles, each family once, each sample under its role', async () => {
  let text = ''
  const roles = async () => {
    text = await (await fetch(`${stage.started[0]?.metrics}/metrics`)).text()
    return [...new Set([...text.matchAll(/^caracal_build_info\{role="([a-z-]+)"/gm)].map(([, role]) => role))].sort()
  }
  // A role that has no time to answer is left out of a scrape.
  await expect.poll(roles, { timeout: 60_000 }).toEqual(['api', 'audit', 'coordinator', 'gateway', 'sts'])
  const heads = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
  expect(heads.filter((name, at) => heads.indexOf(name) !== at)).toEqual([])
  expect(text).toMatch(/^caracal_ready\{role="gateway"\} 1$/m)
  // Each thread says what its event loop does.
  const loops = [...text.matchAll(/^caracal_event_loop_\w+\{role="([a-z-]+)"/gm)].map(([, role]) => role)
  expect([...new Set(loops)].sort()).toEqual(['gateway', 'sts'])
}, 90_000)

test('[4-38] Postgres away: nothing goes out without its evidence, 503; back: it goes on by itself', async () => {
  const [gateway] = stage.started as [CompactProcess]
  const mandate = await mint(gateway, credential)
  await expect.poll(async () => (await call(gateway, mandate, 'before')).status, { timeout: 20_000 }).toBe(200)
  await stage.server.end('SIGKILL')
  const reached = stage.upstream.seen.length
  const refused = await Promise.all(Array.from({ length: 5 }, (_, at) => call(gateway, mandate, `away-${at}`)))
  expect(refused.map(({ status }) => status)).toEqual(Array(5).fill(503))
  expect(refused[0]?.code).toBe('evidence_unavailable')
  expect(stage.upstream.seen.length).toBe(reached)
  await stage.server.start()
  await expect.poll(async () => (await call(gateway, mandate, 'after')).status, { timeout: 30_000 }).toBe(200)
}, 90_000)
