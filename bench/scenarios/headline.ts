import { type Bench, ms } from '../bench.ts'
import { absolute, type Figure } from '../figure.ts'
import { untilSettled } from '../ledger.ts'
import { runPairs } from '../pairs.ts'

/** Events that a pair leaves: the mandate, the call that was allowed, the call that ended. */
const EVENTS_PER_PAIR = 3

/** Mint of a single-use mandate, then the call with it: 16 requests under way, 16 applications, everything on this machine. */
export async function headline({ installation, zone, long, warm }: Bench): Promise<Figure[]> {
  const { sts, gateway } = installation.services
  const load = { sts: [sts.url], gateways: [gateway.url], connections: 16 }
  await runPairs(installation, zone, { ...load, seconds: warm })
  const before = await untilSettled(installation, zone)
  const ran = await runPairs(installation, zone, { ...load, seconds: long })
  const expected = ran.minted + (EVENTS_PER_PAIR - 1) * ran.pairs
  const settled = await untilSettled(installation, zone, before.size + expected)
  const events = settled.size - before.size
  const spilled = events - expected
  // What was under way when the generator stopped is evidence as well, though nobody counted the answer.
  const complete = spilled >= 0 && spilled <= EVENTS_PER_PAIR * load.connections + 16
  const shared = { errors: ran.errors, cpu: ran.cpu }
  return [
    absolute(
      {
        ...shared,
        name: 'mint of a single-use mandate, then the call with it, 16 connections',
        value: ran.perSecond,
        unit: 'pairs/s',
        note: `${ran.pairs} pairs in ${long} s, the generator on the same cores`,
        more: { mintP50: ms(ran.mint.p50), mintP99: ms(ran.mint.p99), callP50: ms(ran.call.p50), callP99: ms(ran.call.p99) },
      },
      { least: 3_700 },
    ),
    absolute(
      {
        ...shared,
        name: 'the same, latency p99',
        value: ms(ran.mint.p99 + ran.call.p99),
        unit: 'ms',
        note: 'p99 of the mint plus p99 of the call: an upper bound of the p99 of the pair',
      },
      { most: 15 },
    ),
    absolute(
      { name: 'the same, ledger behind at the end', value: settled.seconds, unit: 's', note: 'until a checkpoint covered the last event' },
      { most: 1 },
    ),
    absolute(
      {
        name: 'the same, events in the ledger per pair',
        value: events / Math.max(1, ran.pairs),
        unit: 'events',
        errors: complete ? 0 : Math.abs(spilled),
        note: `${events} events for ${ran.minted} mandates and ${ran.pairs} calls; ${spilled} of what was under way at the end`,
      },
      { least: EVENTS_PER_PAIR },
    ),
  ]
}
