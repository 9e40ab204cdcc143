import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Bench, ms } from '../bench.ts'
import { absolute, type Figure } from '../figure.ts'
import { CALL_PATH } from '../zone.ts'

/** Each with an application, a resource and a policy of its own. */
const documents = (zone: string) => `
kind: Zone
name: ${zone}
---
kind: Application
zone: ${zone}
name: agent
labels: [agents]
---
kind: Resource
zone: ${zone}
name: items
identifier: https://items.${zone}.internal/
upstream: https://items.${zone}.internal
scopes: ["items:read"]
---
kind: Policy
zone: ${zone}
name: items
rules:
  - id: use
    allow: ["items:*"]
    on: ["https://items.${zone}.internal/"]
    for: { labels: [agents] }
`

/** Further processes beside many zones: from the start of the process to `/ready`, and the first mint and call of one that is cold (P-170). */
export async function start(bench: Bench & { readonly zones: number }): Promise<Figure[]> {
  const { installation, zone, zones } = bench
  const where = join(installation.folder, 'many-zones')
  mkdirSync(where)
  for (let at = 0; at < zones; at += 1) writeFileSync(join(where, `${at}.yaml`), documents(`zone-${at}`))
  const applied = await installation.caracal(['apply', '-f', where])
  if (applied.code !== 0) throw new Error(applied.stderr)

  // Whoever starts first makes the keys of new zones: that is the price of a zone, not of a start.
  await (await installation.another('sts', 'first sts')).stop()
  const [sts, stsReady] = await clocked(() => installation.another('sts', 'cold sts'))
  const [gateway, gatewayReady] = await clocked(() => installation.another('gateway', 'cold gateway'))
  const [mandate, minted] = await clocked(() => zone.mandate(sts.url))
  const [answer, called] = await clocked(() => fetch(gateway.url + CALL_PATH, { headers: { authorization: `Bearer ${mandate}` } }))
  await answer.text()
  await Promise.all([sts.stop(), gateway.stop()])
  const among = `${zones} zones beside it, each with an application, a resource and a policy`
  return [
    absolute({ name: 'STS, from its start to ready', value: stsReady / 1000, unit: 's', note: among }, { most: 3 }),
    absolute({ name: 'Gateway, from its start to ready', value: gatewayReady / 1000, unit: 's', note: among }, { most: 3 }),
    absolute({ name: 'first mint of a cold STS', value: ms(minted * 1000), unit: 'ms' }, { most: 100 }),
    absolute(
      { name: 'first call through a cold Gateway', value: ms(called * 1000), unit: 'ms', errors: answer.status === 200 ? 0 : 1 },
      { most: 100 },
    ),
  ]
}

async function clocked<T>(work: () => Promise<T>): Promise<[T, number]> {
  const began = performance.now()
  const made = await work()
  return [made, performance.now() - began]
}
