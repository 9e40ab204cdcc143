import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench.ts'
import { absolute, type Figure } from '../figure.ts'
import { untilSettled } from '../ledger.ts'
import { runPairs } from '../pairs.ts'

/** What the hot path asks of Postgres: statements of the STS under load, less what it asks when nobody calls. */
export async function steadyState({ installation, zone, seconds, warm }: Bench): Promise<Figure[]> {
  const { sts, gateway } = installation.services
  const load = { sts: [sts.url], gateways: [gateway.url], connections: 16 }
  await runPairs(installation, zone, { ...load, seconds: warm })
  await untilSettled(installation, zone)
  const statements = async () => {
    const { sts: minting = 0, gateway: calling = 0 } = await installation.stores.statements()
    return { minting, calling }
  }
  const first = await statements()
  await sleep(seconds * 1_000)
  const second = await statements()
  const ran = await runPairs(installation, zone, { ...load, seconds })
  const third = await statements()
  const idle = second.minting - first.minting
  const busy = third.minting - second.minting
  // A look at the configuration more or less falls into either window; a statement per mint would be thousands.
  const perMint = Math.max(0, busy - idle - 20) / Math.max(1, ran.minted)
  return [
    absolute(
      {
        name: 'Postgres round trips per mint',
        value: perMint,
        unit: 'statements',
        errors: ran.errors,
        note: `the STS sent ${busy} statements during ${ran.minted} mints, and ${idle} in the same time without any`,
        more: { busy, idle },
      },
      { most: 0 },
    ),
    absolute(
      {
        name: 'Postgres round trips per call',
        value: (third.calling - second.calling) / Math.max(1, ran.pairs),
        unit: 'statements',
        errors: ran.errors,
        note: `the Gateway has no way to Postgres; ${ran.pairs} calls`,
      },
      { most: 0 },
    ),
  ]
}
