import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type Costs, countCosts } from './count-costs.ts'

/** What was committed with the change that last altered it: `make costs` writes it. */
const HELD = join(import.meta.dirname, '../../bench/costs.json')
/** A change that makes something dearer by more says so by holding the new figures. */
const MOST = 1.15

test('[P-167] a mint, a call and a pair of both cost what they cost before, or up to 15 % more', async () => {
  const costs = await countCosts()
  if (process.env.COSTS === 'hold') writeFileSync(HELD, `${JSON.stringify(costs, null, 2)}\n`)
  const held = JSON.parse(readFileSync(HELD, 'utf8')) as Costs
  expect(Object.keys(costs)).toEqual(Object.keys(held))
  const dearer = Object.entries(costs).filter(([name, cost]) => cost > (held[name] ?? 0) * MOST)
  expect(dearer.map(([name, cost]) => `${name}: ${cost}, was ${held[name]}`)).toEqual([])
}, 300_000)
