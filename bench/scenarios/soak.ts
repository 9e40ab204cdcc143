import { cpus } from 'node:os'
import { type Bench, ms } from '../bench.ts'
import { absolute, type Figure } from '../figure.ts'
import { untilSettled } from '../ledger.ts'
import { resident } from '../memory.ts'
import { runPairs } from '../pairs.ts'

/** Requests under way; each of the sixteen applications of the zone mints in turn. */
const CONNECTIONS = 16
const EVENTS_PER_PAIR = 3
/** The installation begins with empty caches; what it holds after this part of the run is what it may hold at the end. */
const SETTLED_SHARE = 0.25
const MOST_GROWTH = 0.1

/**
 * Sixteen identities, each call with its own fresh single-use mandate, for `--minutes` (eight unless said): errors none, the targets of
 * the table held to the end, memory that does not grow, evidence of everything.
 */
export async function soak({ installation, zone, warm, minutes }: Bench & { readonly minutes: number }): Promise<Figure[]> {
  const { sts, gateway } = installation.services
  const load = { sts: [sts.url], gateways: [gateway.url], connections: CONNECTIONS }
  const seconds = Math.max(1, Math.round(minutes * 60))
  await runPairs(installation, zone, { ...load, seconds: warm })
  const before = await untilSettled(installation, zone)
  const settling = await runPairs(installation, zone, { ...load, seconds: Math.max(1, Math.round(seconds * SETTLED_SHARE)) })
  const together = () => (resident(sts.pid) ?? 0) + (resident(gateway.pid) ?? 0)
  const held = together()
  const ran = await runPairs(installation, zone, { ...load, seconds: Math.max(1, Math.round(seconds * (1 - SETTLED_SHARE))) })
  const growth = together() / held - 1
  const minted = settling.minted + ran.minted
  const pairs = settling.pairs + ran.pairs
  const expected = minted + (EVENTS_PER_PAIR - 1) * pairs
  const settled = await untilSettled(installation, zone, before.size + expected)
  const missing = Math.max(0, before.size + expected - settled.size)
  const errors = settling.errors + ran.errors
  const cores = cpus().length
  return [
    absolute(
      {
        name: `soak of ${minutes} min, 16 identities, a fresh mandate for each call: governed calls per vCPU`,
        value: ran.perSecond / cores,
        unit: 'calls/s',
        errors,
        cpu: ran.cpu,
        note: `${pairs} calls with ${minted} mandates on ${cores} vCPU, the generator, Postgres and Redis among them`,
        more: { mintP99: ms(ran.mint.p99), callP99: ms(ran.call.p99), errors },
      },
      { least: 1_850 },
    ),
    absolute(
      {
        name: 'the same, latency p99 of the call',
        value: ms(ran.call.p99),
        unit: 'ms',
        errors,
        note: 'over the last three quarters of the run',
      },
      { most: 15 },
    ),
    absolute(
      { name: 'the same, mints per vCPU', value: ran.minted / (seconds * (1 - SETTLED_SHARE)) / cores, unit: 'mints/s', errors },
      { least: 1_000 },
    ),
    absolute(
      {
        name: 'the same, growth of memory after the first quarter',
        value: growth * 100,
        unit: '%',
        note: 'resident, STS and Gateway together',
      },
      { most: MOST_GROWTH * 100 },
    ),
    absolute(
      {
        name: 'the same, effects without evidence',
        value: missing,
        unit: 'events',
        errors: missing,
        note: `ledger ${settled.seconds} s behind at the end`,
      },
      { most: 0 },
    ),
  ]
}
