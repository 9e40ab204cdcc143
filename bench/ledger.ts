import { setTimeout as sleep } from 'node:timers/promises'
import type { Installation } from './installation.ts'
import type { Zone } from './zone.ts'

/** Longer than from the last event to its checkpoint. */
const QUIET_MS = 1_500

export type Settled = {
  /** Events of the zone that the newest checkpoint covers. */
  readonly size: number
  /** Seconds from the call until a checkpoint covered all that there was to cover. */
  readonly seconds: number
}

/** Size of the newest checkpoint of the zone (C2SP tlog-checkpoint: the second line). */
export async function checkpointSize({ services, tokens }: Installation, zone: Zone): Promise<number> {
  const answer = await fetch(`${services.audit.url}/v1/zones/${zone.id}/log/checkpoint`, {
    headers: { authorization: `Bearer ${tokens.audit}` },
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`checkpoint: ${answer.status} ${text}`)
  return Number(text.split('\n')[1])
}

/**
 * How far behind the ledger is: waits until a checkpoint covers at least `expected` events and has stopped growing.
 * The time is that at which it last grew. Gives up after `limit` seconds.
 */
export async function untilSettled(installation: Installation, zone: Zone, expected = 0, limit = 120): Promise<Settled> {
  const began = performance.now()
  let size = -1
  let grew = began
  for (;;) {
    const now = await checkpointSize(installation, zone)
    if (now !== size) {
      size = now
      grew = performance.now()
    }
    const quiet = performance.now() - grew
    if ((size >= expected && quiet > QUIET_MS) || performance.now() - began > limit * 1_000) break
    await sleep(100)
  }
  return { size, seconds: (grew - began) / 1_000 }
}
