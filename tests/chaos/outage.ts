import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Attempt, Load } from './load.ts'
import type { Stage } from './stage.ts'

const AWAY_MS = 30_000
/** REVOCATION_MAX_AGE and a moment for a call on its way. */
const STALE_MS = 5_500

/**
 * Takes a dependency away for 30 s under load and looks at what happens `meanwhile`. Resolves with the milliseconds from its return to
 * the first call that began after it and was answered by the upstream.
 */
export async function takeAway(
  load: Load,
  { leave, back, forMs = AWAY_MS }: { leave: () => Promise<unknown>; back: () => Promise<unknown>; forMs?: number },
  meanwhile: () => Promise<void>,
): Promise<number> {
  const left = performance.now()
  await leave()
  try {
    await meanwhile()
    await sleep(Math.max(0, left + forMs - performance.now()))
  } finally {
    await back()
  }
  return load.firstGoodCall(performance.now())
}

/** What attempts came to that began from then on, each word once, sorted. */
export function codesSince(load: Load, since: number, what: Attempt['what']): string[] {
  return [...new Set(load.attempts.filter((one) => one.what === what && one.began >= since).map(({ code }) => code))].sort()
}

/** Waits until so many attempts of a kind that began from then on have ended. */
export async function untilTried(load: Load, since: number, what: Attempt['what'], count: number): Promise<void> {
  await expect.poll(() => load.attempts.filter((one) => one.what === what && one.began >= since).length).toBeGreaterThanOrEqual(count)
}

/** Waits until a service answers `/ready` with 503 and this reason. */
export async function untilUnready(stage: Stage, name: string, reason: string): Promise<void> {
  await expect.poll(() => stage.services.service(name).ready()).toMatchObject({ status: 503, reasons: expect.arrayContaining([reason]) })
}

/** Waits until every service is ready, without any having been restarted. */
export async function untilAllReady(stage: Stage): Promise<void> {
  for (const one of stage.services.all) await expect.poll(async () => (await one.ready()).status, { message: one.name }).toBe(200)
}

/** No call with a revoked mandate was let through that began later than the freshness bound after the revocation was answered. */
export function expectRevocationsBite(load: Load): void {
  expect(load.told.revoked.length).toBeGreaterThan(0)
  const late = load.told.revoked.flatMap(({ mandate, at, after }) =>
    after.filter(({ began, code }) => code === 'allowed' && began - at > STALE_MS).map(({ began }) => `${mandate} after ${began - at} ms`),
  )
  expect(late, 'calls that were let through on a stale view').toEqual([])
}

/** Nothing was restarted: what recovers does so by itself. */
export function notRestarted(stage: Stage): () => void {
  const before = stage.services.all.map((one) => one.pid())
  return () => expect(stage.services.all.map((one) => one.pid())).toEqual(before)
}
