import { type Refusal, refuse } from '@caracal/core'
import type { SpoolHealth } from '@caracal/streams'
import { FairShare } from './fair-share.ts'
import { LedgerLag } from './ledger-lag.ts'
import type { Metrics } from './metrics.ts'

const TURN_MS = 100
/** Turns in a row that were too slow: a collection of garbage is not overload. */
const SLOW_TURNS = 3
/** Part of what passed before that still passes, however slow it is. */
const KEEP = 0.25
/** Calls in a turn below which nothing queues: a busy machine is not overload either. */
const FEW = 25

export type LoadShedding = {
  /** Null: go ahead. Asked once per call, after the zone is proven and before anything has an effect. */
  readonly admit: (zone: string) => Refusal | null
  readonly stop: () => void
}

/**
 * Refuses what would only wait (P-169): `overloaded` when calls wait half of `maxDelayMs` for their turn, `rate_limited` when the
 * ledger falls more than `maxLagMs` behind this process (P-172). Zones share what passes. Evidence is never what is dropped. While
 * there is enough of everything, a call costs one counter.
 */
export function shedLoad(options: {
  readonly maxDelayMs: number
  readonly maxLagMs: number
  readonly evidence: { health(): SpoolHealth }
  readonly metrics: Metrics
}): LoadShedding {
  const share = new FairShare()
  const lag = new LedgerLag(options.maxLagMs)
  const shed = options.metrics.counter('caracal_load_shed_total', 'Calls that were refused because they would only have waited.', [
    'reason',
  ])
  for (const reason of ['overloaded', 'rate_limited']) shed.inc({ reason }, 0)
  let due = performance.now() + TURN_MS
  let slowTurns = 0
  let refusal: Refusal = refuse('overloaded')

  const turn = () => {
    const now = performance.now()
    // The timer is late by what stands before it in the event loop: a call that arrives now waits as long.
    const slow = now - due > options.maxDelayMs / 2 && share.passed >= FEW
    due = now + TURN_MS
    slowTurns = slow ? slowTurns + 1 : 0
    const { made, records } = options.evidence.health()
    const behind = lag.fallsBehind(made, records, now)
    const overloaded = slowTurns >= SLOW_TURNS || (slow && share.bounded)
    if (overloaded) refusal = refuse('overloaded')
    else if (behind) refusal = refuse('rate_limited', 'the ledger is behind')
    share.turn(overloaded || behind, behind ? 0 : KEEP)
  }
  const timer = setInterval(turn, TURN_MS)
  timer.unref()
  return {
    admit(zone) {
      if (share.admit(zone)) return null
      shed.inc({ reason: refusal.reason })
      return refusal
    },
    stop: () => clearInterval(timer),
  }
}
