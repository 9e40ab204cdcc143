import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Bench, ms, timed } from '../bench.ts'
import { absolute, type Figure } from '../figure.ts'
import { untilSettled } from '../ledger.ts'

/** Sessions that are started and ended at the Coordinator: each is two transactions on the disk. */
export async function sessions({ installation, zone, seconds, warm }: Bench): Promise<Figure[]> {
  const { coordinator } = installation.services
  const file = join(installation.folder, 'coordinator-mandates')
  const lines = await Promise.all(
    zone.credentials.split('\n').map(async (credential) => {
      const [application = ''] = Buffer.from(credential, 'base64').toString().split(':')
      return `${application} ${await zone.coordinatorMandate(credential)}`
    }),
  )
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 })
  const load = {
    url: `${coordinator.url}/v1/zones/${zone.id}/sessions`,
    script: 'sessions',
    connections: 32,
    settings: { file },
  } as const
  await timed(installation, { ...load, seconds: warm })
  const run = await timed(installation, { ...load, seconds })
  await untilSettled(installation, zone)
  return [
    absolute(
      {
        name: 'sessions started and ended, one Coordinator process, 32 connections',
        value: (run.counts.ended ?? 0) / run.seconds,
        unit: 'sessions/s',
        errors: Math.max(run.errors, run.counts.refused ?? 0),
        cpu: run.cpuPerRequest,
        more: { p50: ms(run.p50), p99: ms(run.p99) },
        note: 'two requests and two transactions each; latency and processor time are those of one request',
      },
      { least: 1_000 },
    ),
  ]
}
