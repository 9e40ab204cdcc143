import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Budget, formatAmount, newId, ok, parseAmount, type RequestId, refuse } from '@caracal/core'
import type { Charge } from '@caracal/enforcement'
import { createLogger, createMetrics, type InternalClient } from '@caracal/service'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { workOrders } from '../../apps/sts/src/charges/charge-orders.ts'
import { type BudgetWorld, type BudgetZone, budgetWorld, START } from '../../packages/budgets/src/test-support/budget-world.ts'
import { BudgetSlices } from '../../packages/enforcement-point/src/charges/budget-slices.ts'
import { ChargeClient } from '../../packages/enforcement-point/src/charges/charge-client.ts'
import { SpendJournal } from '../../packages/enforcement-point/src/charges/spend-journal.ts'

const RUNS = Number(process.env.SLICES_RUNS ?? 6)
const LIMIT = 4_000_000n
const TTL_MS = 60_000
const logger = createLogger({ name: 'test', level: 'silent' })

let world: BudgetWorld
let ticks = 0
beforeAll(async () => {
  world = await budgetWorld()
}, 240_000)
afterAll(() => world?.close())

/** `lost`: the store does it, and the answer does not arrive. */
type Way = 'there' | 'away' | 'lost'

/** An enforcement point with its volume: the store is real, the way to it is as the test says. */
async function startPoint(dir: string, zone: BudgetZone, budgets: readonly Budget[]) {
  const state: { way: Way; dead: boolean } = { way: 'there', dead: false }
  const desk = zone.anotherDesk()
  const call = async (_path: string, body: unknown) => {
    if (state.dead || state.way === 'away') return refuse('store_unavailable')
    const { orders } = JSON.parse(JSON.stringify(body)) as { orders: Parameters<typeof workOrders>[1] }
    const answers = await workOrders(desk, orders)
    return state.way === 'lost' || state.dead ? refuse('sts_unavailable') : ok({ answers })
  }
  const client = { call } as unknown as Pick<InternalClient, 'call'>
  const held = budgets.map(({ id, holder, limit }) => ({ id, holder, currency: 'calls' in limit ? null : limit.currency }))
  const journal = await SpendJournal.open(dir, logger)
  // A process that comes after another has a later clock: so late answers to the one before are known.
  const clock = () => {
    ticks += 1
    return world.clock.now + ticks
  }
  const slices = new BudgetSlices({
    client,
    journal,
    budgetsOf: () => held,
    share: 20,
    ttlMs: TTL_MS,
    logger,
    clock,
    monotonic: () => world.clock.now,
  })
  const metrics = createMetrics({ service: 'gateway', version: 'test', mode: 'dev' })
  return { state, dir, slices, journal, charges: new ChargeClient({ client, required: false, logger, metrics, slices }) }
}

type Point = Awaited<ReturnType<typeof startPoint>>

const acts = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      act: fc.constant('call' as const),
      at: fc.nat(1),
      micros: fc.integer({ min: 1, max: 90_000 }),
      end: fc.constantFrom('settle' as const, 'cheaper' as const, 'release' as const, 'hang' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ act: fc.constant('way' as const), at: fc.nat(1), way: fc.constantFrom<Way>('there', 'away', 'lost') }),
  },
  { weight: 2, arbitrary: fc.record({ act: fc.constant('renew' as const), at: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('kill' as const), at: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 15_000 }) }) },
)

type Call = { readonly request: RequestId; readonly micros: bigint; readonly fromSlice: boolean; end: 'out' | 'settled' | 'released' }

test('[P-045] whatever is charged, held, spent while the store is away, told twice, lost on the way and killed in between: never more than the limit is let out, and what was spent of a slice is counted once', async () => {
  let spentOfSlices = 0
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(acts, { minLength: 1, maxLength: 8 }), { minLength: 4, maxLength: 10 }), async (rounds) => {
      world.clock.now = START
      const zone = await world.zone()
      const money = await zone.budget({ limit: { amount: formatAmount(LIMIT), currency: 'EUR' } })
      const counted = await zone.budget({ limit: { calls: 1_000 }, window: 'rolling', per: 'hour' })
      const dirs = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'caracal-slices-')))
      const points: Point[] = []
      for (const dir of dirs) points.push(await startPoint(dir, zone, [money, counted]))
      const at = (index: number) => points[index] as Point
      const calls: Call[] = []

      const callOut = async (point: Point, micros: bigint, end: 'settle' | 'cheaper' | 'release' | 'hang') => {
        const request = newId('request')
        const taken = await point.charges.reserve({
          zone: zone.id,
          request,
          what: { application: zone.application, subject: null, session: null, resource: 'https://a.example', operation: null },
          holders: [zone.application],
          price: { amount: formatAmount(micros), currency: 'EUR' },
          required: false,
          ttl: 1,
        })
        if (!taken.ok || taken.value === null || point.state.dead) return
        const charge: Charge = taken.value
        const one: Call = { request, micros, fromSlice: charge.expiresAt === Number.POSITIVE_INFINITY, end: 'out' }
        calls.push(one)
        if (end === 'settle' || end === 'cheaper') {
          charge.settle(end === 'cheaper' ? formatAmount(micros / 2n) : undefined)
          one.end = 'settled'
        } else if (end === 'release') {
          await charge.release()
          one.end = 'released'
        }
      }
      const kill = async (index: number) => {
        const before = at(index)
        before.state.dead = true
        points[index] = await startPoint(before.dir, zone, [money, counted])
        // What it still writes goes to a file that nobody reads any more.
        await before.journal.close()
      }
      const holds = async () => {
        const let_out = calls.filter(({ end }) => end !== 'released').reduce((sum, { micros }) => sum + micros, 0n)
        expect(let_out <= LIMIT).toBe(true)
        const standing = await zone.standing(money)
        const sum = (['spent', 'reserved', 'held'] as const).reduce((total, name) => total + (parseAmount(standing[name]) ?? 0n), 0n)
        expect(sum <= LIMIT).toBe(true)
      }

      // Both hold something before anything goes wrong.
      for (const point of points) {
        await callOut(point, 1_000n, 'settle')
        await point.slices.renew()
      }
      for (const round of rounds) {
        await Promise.all(
          round.map(async (act) => {
            if (act.act === 'call') await callOut(at(act.at), BigInt(act.micros), act.end)
            if (act.act === 'way') at(act.at).state.way = act.way
            if (act.act === 'renew') await at(act.at).slices.renew()
          }),
        )
        for (const act of round) {
          if (act.act === 'wait') world.clock.now += act.ms
          if (act.act === 'kill') await kill(act.at)
        }
        await holds()
      }

      // One more process each, whose way is open: what the ones before spent is counted now.
      for (const index of [0, 1]) await kill(index)
      await expect.poll(() => points.every(({ journal }) => journal.unsettled.size === 0), { timeout: 60_000 }).toBe(true)
      for (const { charges } of points) await charges.close(10_000)
      await holds()
      const standing = await zone.standing(money)
      expect(standing.held).toBe('0')
      expect(await zone.standing(counted)).toMatchObject({ held: '0' })
      const usage = await zone.usage()
      const times = Map.groupBy(usage, ({ request }) => request)
      const ofSlices = calls.filter(({ fromSlice }) => fromSlice)
      spentOfSlices += ofSlices.length
      for (const { request, end } of ofSlices) if (end !== 'released') expect(times.get(request)).toHaveLength(1)
      expect(usage.reduce((sum, { amount }) => sum + (parseAmount(amount) ?? 0n), 0n)).toBe(parseAmount(standing.spent))
      for (const dir of dirs) rmSync(dir, { recursive: true })
    }),
    { numRuns: RUNS, endOnFailure: true },
  )
  // The store was away for some of them, or nothing is shown.
  expect(spentOfSlices).toBeGreaterThan(0)
}, 600_000)
