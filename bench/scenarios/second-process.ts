import type { Bench } from '../bench.ts'
import { type Figure, median, relative } from '../figure.ts'
import { untilSettled } from '../ledger.ts'
import { type Pairs, runPairs } from '../pairs.ts'

/** The headline with a second Gateway, a second STS, and both: what the single thread of each costs. */
export async function secondProcess({ installation, zone, seconds, turns, warm }: Bench): Promise<Figure[]> {
  const { sts, gateway } = installation.services
  const further = { sts: await installation.another('sts', 'second sts'), gateway: await installation.another('gateway', 'second gateway') }
  const variants = [
    { name: 'one Gateway, one STS', sts: [sts.url], gateways: [gateway.url] },
    { name: 'two Gateways, one STS', sts: [sts.url], gateways: [gateway.url, further.gateway.url] },
    { name: 'one Gateway, two STS', sts: [sts.url, further.sts.url], gateways: [gateway.url] },
    { name: 'two Gateways, two STS', sts: [sts.url, further.sts.url], gateways: [gateway.url, further.gateway.url] },
  ]
  const runs = new Map<string, Pairs[]>(variants.map(({ name }) => [name, []]))
  await runPairs(installation, zone, { ...(variants[3] as (typeof variants)[0]), connections: 32, seconds: warm })
  for (let turn = 0; turn < turns; turn += 1) {
    for (const variant of variants) {
      await untilSettled(installation, zone)
      runs.get(variant.name)?.push(await runPairs(installation, zone, { ...variant, connections: 32, seconds }))
    }
  }
  await Promise.all([further.sts.stop(), further.gateway.stop()])
  const rate = (name: string) => median((runs.get(name) ?? []).map(({ perSecond }) => perSecond))
  const one = rate('one Gateway, one STS')
  return variants.map(({ name }) =>
    relative(
      {
        name: `pairs of mint and call, 32 connections: ${name}`,
        value: rate(name),
        unit: 'pairs/s',
        errors: (runs.get(name) ?? []).reduce((sum, run) => sum + run.errors, 0),
        cpu: (runs.get(name) ?? [])[0]?.cpu ?? {},
        note: 'generator, stores and ledger share the cores with them',
      },
      one,
      null,
    ),
  )
}
