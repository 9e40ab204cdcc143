import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CompactProcess } from './compact-process.ts'
import { setUp, ZONE } from './governed.ts'
import { type CompactStage, openStage } from './stage.ts'

let stage: CompactStage
let token = ''
let key = ''
let gateways: readonly [CompactProcess, CompactProcess]

beforeAll(async () => {
  stage = await openStage()
  const settings = { AUTH_MODE: 'api_key', APPLICATION_RATE: '0' }
  gateways = [await stage.start(settings), await stage.start(settings)]
  await Promise.all(gateways.map((one) => one.ready()))
  token = await stage.firstToken()
  await setUp(gateways[0], token, stage.upstream.url)
  const made = await gateways[0].caracal(['--json', 'credential', 'create', 'agent', '-z', ZONE, '--api-key', 'main'], {
    CARACAL_TOKEN: token,
  })
  if (made.code !== 0) throw new Error(made.stderr)
  key = (JSON.parse(made.stdout) as { api_key: string }).api_key
}, 180_000)
afterAll(() => stage?.stop(), 60_000)

/** One call; status 0 when the connection broke. */
async function call(
  gateway: CompactProcess,
  id: string,
  nonce = randomBytes(16).toString('hex'),
): Promise<{ readonly status: number; readonly code: string | undefined }> {
  const headers = { 'x-api-key': key, 'x-caracal-nonce': nonce, 'x-caracal-timestamp': String(Math.floor(Date.now() / 1_000)) }
  try {
    const answer = await fetch(`${gateway.url}/r/notes/notes/${id}`, { headers, signal: AbortSignal.timeout(30_000) })
    return { status: answer.status, code: ((await answer.json()) as { code?: string }).code }
  } catch {
    return { status: 0, code: undefined }
  }
}

const reached = (part: string) => stage.upstream.seen.filter((path) => path.includes(part))

test('[4-15] one nonce at two processes at once, among other calls: one goes out, the others are replays and nobody else is held back', async () => {
  for (const gateway of gateways) await expect.poll(async () => (await call(gateway, 'first')).status, { timeout: 30_000 }).toBe(200)
  for (let round = 0; round < 5; round += 1) {
    const nonce = randomBytes(16).toString('hex')
    const same = gateways.flatMap((gateway) => Array.from({ length: 4 }, () => call(gateway, `same-${round}`, nonce)))
    const others = gateways.flatMap((gateway) => Array.from({ length: 4 }, (_, at) => call(gateway, `other-${round}-${at}`)))
    const answers = await Promise.all(same)
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status, code }) => status === 401 && code === 'nonce_replayed')).toHaveLength(7)
    expect((await Promise.all(others)).map(({ status }) => status)).toEqual(Array(8).fill(200))
    expect(reached(`same-${round}`)).toHaveLength(1)
  }
  // Each answer has its one event: nothing is recorded as allowed that did not go out.
  await expect
    .poll(
      async () => {
        const all = (await stage.events(gateways[1], token, 'type=call.allowed')).map(({ operation }) => operation?.path ?? '')
        return all.filter((path) => path.includes('same-')).sort()
      },
      { timeout: 30_000 },
    )
    .toEqual(Array.from({ length: 5 }, (_, round) => `/notes/same-${round}`))
  const refused = await stage.events(gateways[1], token, 'type=call.refused')
  expect(refused.filter(({ operation }) => operation?.path?.includes('same-'))).toHaveLength(35)
}, 120_000)

test('[P-094] a process that is killed under load has let no call out without its event', async () => {
  const [doomed, other] = gateways
  let at = 0
  const running = Array.from({ length: 32 }, async () => {
    while (doomed.runs()) {
      at += 1
      const { status } = await call(doomed, `load-${at}`)
      if (status === 0) await sleep(20)
    }
  })
  await expect.poll(() => reached('load-').length, { timeout: 60_000, interval: 5 }).toBeGreaterThan(300)
  await doomed.end('SIGKILL')
  await Promise.all(running)
  const out = reached('load-').map((path) => path.replace(/^.*\/notes\//, '/notes/'))
  await expect
    .poll(
      async () => {
        const events = await stage.events(other, token, 'type=call.allowed')
        const known = new Set(events.map(({ operation }) => operation?.path))
        return out.filter((path) => !known.has(path))
      },
      { timeout: 60_000, interval: 500 },
    )
    .toEqual([])
}, 180_000)
