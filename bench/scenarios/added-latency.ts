import { type Bench, ms, type Timed, timed } from '../bench.ts'
import { absolute, type Figure, median } from '../figure.ts'
import { untilSettled } from '../ledger.ts'
import { startBareProxy } from '../start-bare-proxy.ts'
import { CALL_PATH } from '../zone.ts'

const CONNECTIONS = 64
const LOAD = 0.3
/** What the Gateway adds to the bare proxy at 30 % of what it can do: calls come by a timetable, whatever the answers take. */
export async function addedLatency({ installation, zone, seconds, turns, warm }: Bench): Promise<Figure[]> {
  const bare = await startBareProxy(installation)
  const { gateway } = installation.services
  const common = { connections: CONNECTIONS, headers: { authorization: `Bearer ${await zone.mandate()}` } }
  await timed(installation, { ...common, script: 'steady', url: bare.url + CALL_PATH, seconds: warm })
  const most = await timed(installation, { ...common, script: 'steady', url: gateway.url + CALL_PATH, seconds: Math.max(warm, 2) })
  const rate = Math.max(1, Math.floor(most.perSecond * LOAD))
  const paced = (url: string) => timed(installation, { ...common, script: 'paced', url: url + CALL_PATH, seconds, settings: { rate } })

  const proxied: Timed[] = []
  const governed: Timed[] = []
  for (let turn = 0; turn < turns; turn += 1) {
    await untilSettled(installation, zone)
    proxied.push(await paced(bare.url))
    governed.push(await paced(gateway.url))
  }
  await bare.stop()

  const errors = [...proxied, ...governed].reduce((sum, run) => sum + run.errors, 0)
  const late = governed.reduce((sum, run) => sum + (run.counts.late ?? 0), 0)
  const of = (runs: readonly Timed[], which: 'p50' | 'p99') => median(runs.map((run) => run[which]))
  const figure = (which: 'p50' | 'p99', limit: number) =>
    absolute(
      {
        name: `added latency at 30 % load, ${which}`,
        value: ms(of(governed, which) - of(proxied, which)),
        unit: 'ms',
        errors,
        note: `Gateway ${ms(of(governed, which))} ms, bare proxy ${ms(of(proxied, which))} ms, both at ${rate} calls/s; medians of ${turns} turns`,
        more: { rate, late, reached: governed[0]?.perSecond ?? 0 },
        cpu: governed[0]?.cpuPerRequest ?? {},
      },
      { most: limit },
    )
  return [figure('p50', 1.5), figure('p99', 8)]
}
