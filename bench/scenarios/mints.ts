import { type Bench, ms, timed } from '../bench.ts'
import { absolute, type Figure } from '../figure.ts'
import { untilSettled } from '../ledger.ts'
import type { Load } from '../wrk.ts'
import { mintForm } from '../zone.ts'

/** Mandates that one STS process issues, the evidence of each on the disk before its answer. */
export async function mints({ installation, zone, seconds, warm }: Bench): Promise<Figure[]> {
  const load: Omit<Load, 'seconds'> = {
    url: `${installation.services.sts.url}/oauth/2/token`,
    script: 'mint',
    connections: 64,
    settings: { credentials: zone.credentialsFile, form: mintForm() },
  }
  await timed(installation, { ...load, seconds: warm })
  await untilSettled(installation, zone)
  const run = await timed(installation, { ...load, seconds })
  await untilSettled(installation, zone)
  return [
    absolute(
      {
        name: 'mints, one STS process, evidence durable, 64 connections',
        value: run.perSecond,
        unit: 'mints/s',
        errors: Math.max(run.errors, run.counts.refused ?? 0),
        cpu: run.cpuPerRequest,
        more: { p50: ms(run.p50), p99: ms(run.p99) },
        note: 'client secrets of 16 applications in turn',
      },
      { least: 2_500 },
    ),
  ]
}
