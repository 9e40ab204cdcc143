import { type Bench, ms, type Timed, timed } from '../bench.ts'
import { type Figure, median, relative } from '../figure.ts'
import { untilSettled } from '../ledger.ts'
import { runPairs } from '../pairs.ts'
import { startBareProxy } from '../start-bare-proxy.ts'
import { CALL_PATH } from '../zone.ts'

const CONNECTIONS = 64
/** Governed calls next to a bare undici proxy: the same mandate each time, then a fresh single-use one minted per call. */
export async function governedCalls({ installation, zone, seconds, turns, warm }: Bench): Promise<Figure[]> {
  const bare = await startBareProxy(installation)
  const headers = { authorization: `Bearer ${await zone.mandate()}` }
  const load = { script: 'steady', connections: CONNECTIONS, headers } as const
  const call = (server: { url: string }, duration: number) =>
    timed(installation, { ...load, url: server.url + CALL_PATH, seconds: duration })
  const { sts, gateway } = installation.services
  const pairs = { sts: [sts.url], gateways: [gateway.url], connections: CONNECTIONS }

  await call(bare, warm)
  await call(gateway, warm)
  await runPairs(installation, zone, { ...pairs, seconds: warm })
  const proxied: Timed[] = []
  const governed: Timed[] = []
  const fresh: Awaited<ReturnType<typeof runPairs>>[] = []
  for (let turn = 0; turn < turns; turn += 1) {
    proxied.push(await call(bare, seconds))
    governed.push(await call(gateway, seconds))
    fresh.push(await runPairs(installation, zone, { ...pairs, seconds }))
    await untilSettled(installation, zone)
  }
  await bare.stop()

  const rate = (runs: readonly { perSecond: number }[]) => median(runs.map(({ perSecond }) => perSecond))
  const errors = (runs: readonly { errors: number }[]) => runs.reduce((sum, run) => sum + run.errors, 0)
  const typical = <R extends { perSecond: number }>(runs: readonly R[]) => runs.find(({ perSecond }) => perSecond === rate(runs))
  const bareRate = rate(proxied)
  const latency = (run: Timed | undefined) => ({ p50: ms(run?.p50 ?? 0), p99: ms(run?.p99 ?? 0) })
  const middle = typical(fresh)
  return [
    relative(
      {
        name: 'bare undici proxy, 64 connections, 1 KB',
        value: bareRate,
        unit: 'calls/s',
        errors: errors(proxied),
        cpu: typical(proxied)?.cpuPerRequest ?? {},
        more: latency(typical(proxied)),
        note: 'the baseline: node:http and an undici pool in one process, the same Node',
      },
      bareRate,
      null,
    ),
    relative(
      {
        name: 'governed calls, 64 connections, 1 KB, cached verification',
        value: rate(governed),
        unit: 'calls/s',
        errors: errors(governed),
        cpu: typical(governed)?.cpuPerRequest ?? {},
        more: latency(typical(governed)),
        note: `verify, decide, inject, evidence on the disk before the call leaves; median of ${turns} turns`,
      },
      bareRate,
      0.5,
    ),
    relative(
      {
        name: 'the same with a fresh single-use mandate minted per call',
        value: rate(fresh),
        unit: 'calls/s',
        errors: errors(fresh),
        cpu: middle?.cpu ?? {},
        more: { mintP99: ms(middle?.mint.p99 ?? 0), callP99: ms(middle?.call.p99 ?? 0) },
        note: 'minting, single use at Redis and both services are part of the load',
      },
      bareRate,
      0.15,
    ),
  ]
}
