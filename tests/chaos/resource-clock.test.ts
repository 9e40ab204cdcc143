import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectNothingLost } from './ledger.ts'
import { type Load, startLoad } from './load.ts'
import { RESOURCE, type Stage, startStage } from './stage.ts'
import { checksOf, metricOf, untilReady } from './standing.ts'

const ROLES = ['gateway', 'sts', 'audit'] as const
type Role = (typeof ROLES)[number]

let stage: Stage
let load: Load
const folder = mkdtempSync(join(tmpdir(), 'caracal-clocks-'))

/** The library that answers for the kernel when a process asks for the time; what it asks the monotonic clock goes through. */
function library(): string {
  for (const arch of readdirSync('/usr/lib')) {
    const found = join('/usr/lib', arch, 'faketime/libfaketimeMT.so.1')
    if (existsSync(found)) return found
  }
  throw new Error('libfaketime is not installed: run `make test-servers` (Debian), or install a package with `faketime`')
}

/** Turns the clock of a role by so many seconds; the process sees it within a second. */
function turn(role: Role, seconds: number): void {
  writeFileSync(join(folder, role), `${seconds < 0 ? '' : '+'}${seconds}s\n`)
}

const turnable = (role: Role) => ({
  LD_PRELOAD: library(),
  FAKETIME_TIMESTAMP_FILE: join(folder, role),
  FAKETIME_CACHE_DURATION: '1',
  FAKETIME_DONT_FAKE_MONOTONIC: '1',
  DONT_FAKE_MONOTONIC: '1',
})

const service = (role: Role) => stage.services.service(role)

beforeAll(async () => {
  for (const role of ROLES) turn(role, 0)
  stage = await startStage()
  for (const role of ROLES) {
    await service(role).end('SIGTERM')
    await service(role).start(turnable(role))
  }
  load = startLoad(stage, { clients: 2, pause: 25, administration: false })
  await load.firstGoodCall(performance.now())
}, 180_000)
afterAll(async () => {
  await stage?.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function mint(ttl: number): Promise<string> {
  const answer = await fetch(`${stage.services.urls.sts}/oauth/2/token`, {
    method: 'POST',
    headers: { authorization: stage.basic },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource: RESOURCE, scope: 'chaos:read', ttl: String(ttl) }),
  })
  const body = (await answer.json()) as { access_token?: string; mandate_id?: string }
  if (body.access_token === undefined || body.mandate_id === undefined) throw new Error(JSON.stringify(body))
  load.told.mandates.push(body.mandate_id)
  return body.access_token
}

let called = 0
async function call(token: string): Promise<string> {
  called += 1
  const answer = await fetch(`${stage.services.urls.gateway}/r/chaos/items/clock-${called}`, {
    headers: { authorization: `Bearer ${token}` },
  })
  const text = await answer.text()
  return answer.status === 200 ? '200' : (JSON.parse(text) as { code: string }).code
}

/** The longest time without a call that was answered, since then. Milliseconds. */
function longestPause(since: number): number {
  const good = load.attempts.filter(({ what, status, ended }) => what === 'call' && status === 200 && ended >= since)
  const times = [since, ...good.map(({ ended }) => ended), performance.now()]
  return Math.max(...times.slice(1).map((at, index) => at - (times[index] ?? at)))
}

describe('[P-146] [P-056] a clock that jumps by a minute', () => {
  test.each(ROLES.flatMap((role) => [60, -60, 0].map((seconds) => ({ role, seconds }))))(
    '$role to $seconds s: it is said, nothing is refused or stalls for it, and the replica stays ready',
    async ({ role, seconds }) => {
      const since = performance.now()
      turn(role, seconds)
      await expect.poll(() => metricOf(service(role), 'caracal_clock_skew_seconds')).toBeCloseTo(seconds, -1)
      await expect.poll(async () => (await checksOf(service(role))).clock).toBe(seconds === 0 ? 'ok' : 'failing')
      await untilReady(service(role))
      await sleep(2_000)
      await load.firstGoodCall(performance.now())
      const refused = Object.keys(load.tally(since)).filter((outcome) => !outcome.endsWith(' 200'))
      expect(refused).toEqual([])
      expect(longestPause(since), 'nothing stops for the length of the jump').toBeLessThan(30_000)
    },
  )

  test('a Gateway that is set back serves nothing that has expired', async () => {
    const began = performance.now()
    const token = await mint(8)
    expect(await call(token)).toBe('200')
    turn('gateway', -60)
    await sleep(8_500 - (performance.now() - began))
    expect(await call(token)).toBe('token_expired')
    turn('gateway', 0)
    await expect.poll(() => metricOf(service('gateway'), 'caracal_clock_skew_seconds')).toBeCloseTo(0, -1)
    expect(await call(token)).toBe('token_expired')
  })

  test('[P-014] an STS that starts with a wrong clock is not ready and says why; its mandates are good up to a minute ahead, then refused as what they are', async () => {
    for (const [seconds, expected] of [
      [30, '200'],
      [90, 'token_not_yet_valid'],
    ] as const) {
      await service('sts').end('SIGTERM')
      turn('sts', seconds)
      const started = service('sts').start(turnable('sts'))
      await untilReady(service('sts'), 'starting: clock_skewed')
      expect(await call(await mint(300)), `${seconds} s ahead`).toBe(expected)
      turn('sts', 0)
      await started
    }
    await load.firstGoodCall(performance.now())
    expect(await call(await mint(300))).toBe('200')
  })

  test('after all of it: every effect has its evidence, once', async () => {
    await load.stop()
    const { effects } = await expectNothingLost(stage, load)
    expect(effects).toBeGreaterThan(50)
  })
})
