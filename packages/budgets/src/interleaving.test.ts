import { formatAmount, newId, parseAmount, type RequestId } from '@caracal/core'
import { inZone } from '@caracal/postgres'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ReleaseOrder, ReserveOrder, SettleOrder } from './charge-order.ts'
import { expireChargesJob } from './expire-charges.ts'
import { type BudgetWorld, budgetWorld, EXPIRATION_MS, reserveOrder } from './test-support/budget-world.ts'

/** What happens to the charge of this number, counted in the order they were made. */
type Act =
  | { readonly act: 'reserve'; readonly micros: number; readonly child: boolean }
  | { readonly act: 'settle'; readonly which: number; readonly micros: number | null }
  | { readonly act: 'release'; readonly which: number }
  | { readonly act: 'wait'; readonly ms: number }

const LIMIT = 10_000_000n
const CALLS = 12

const acts: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ act: fc.constant('reserve' as const), micros: fc.integer({ min: 1, max: 4_000_000 }), child: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      act: fc.constant('settle' as const),
      which: fc.nat(30),
      micros: fc.option(fc.integer({ min: 0, max: 5_000_000 })),
    }),
  },
  { weight: 2, arbitrary: fc.record({ act: fc.constant('release' as const), which: fc.nat(30) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 200_000 }) }) },
)

let world: BudgetWorld
beforeAll(async () => {
  world = await budgetWorld()
})
afterAll(() => world?.close())

test('[P-045] whatever is reserved, settled, released and left to expire at once: nothing is spent twice, and the usage adds up', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(acts, { minLength: 1, maxLength: 6 }), { minLength: 3, maxLength: 10 }), async (rounds) => {
      const zone = await world.zone()
      const session = newId('session')
      const desks = [zone.desk, zone.anotherDesk()]
      const parent = await zone.budget({ limit: { amount: formatAmount(LIMIT), currency: 'EUR' } })
      const child = await zone.budget({ holder: session, limit: { amount: formatAmount(LIMIT / 2n), currency: 'EUR' } })
      const counted = await zone.budget({ limit: { calls: CALLS } })
      const job = expireChargesJob({ database: world.database.as('sts'), clock: () => world.clock.now, everyMs: 60_000, batch: 3 })

      type Made = { readonly request: RequestId; readonly micros: bigint; readonly child: boolean; readonly expiresAt: number }
      const made: Made[] = []
      const open = new Map<RequestId, Made>()
      const spent = { parent: 0n, child: 0n, calls: 0n, beyond: 0n }
      let settled = 0

      const orderOf = (act: Act): ReserveOrder | SettleOrder | ReleaseOrder | undefined => {
        if (act.act === 'reserve') {
          const holders = act.child ? [zone.application, session] : [zone.application]
          return reserveOrder(zone.application, { holders, price: { amount: formatAmount(BigInt(act.micros)), currency: 'EUR' } })
        }
        if (act.act === 'wait') return undefined
        const charge = made[act.which % Math.max(made.length, 1)]
        if (charge === undefined) return undefined
        if (act.act === 'release') return { act: 'release', request: charge.request }
        return { act: 'settle', request: charge.request, actual: act.micros === null ? null : formatAmount(BigInt(act.micros)) }
      }

      for (const round of rounds) {
        for (const act of round) if (act.act === 'wait') world.clock.now += act.ms
        const sweeping = job.step({ demand: async () => {} })
        await Promise.all(
          round.map(async (act, index) => {
            const order = orderOf(act)
            if (order === undefined) return
            const [answer] = (await desks[index % 2]?.submit(zone.id, [order])) ?? []
            if (answer?.act === 'reserve' && answer.result.ok && answer.result.value.state === 'charged' && act.act === 'reserve') {
              const charge = {
                request: order.request,
                micros: BigInt(act.micros),
                child: act.child,
                expiresAt: answer.result.value.expiresAt,
              }
              made.push(charge)
              open.set(order.request, charge)
            }
            if (answer?.act === 'release' && answer.outcome === 'released') open.delete(order.request)
            if (answer?.act === 'settle' && (answer.outcome === 'settled' || answer.outcome === 'late')) {
              const charge = made.find(({ request }) => request === order.request)
              if (charge === undefined || order.act !== 'settle') throw new Error('something was settled that was never charged')
              const cost = (order.actual === null ? undefined : parseAmount(order.actual)) ?? charge.micros
              open.delete(order.request)
              settled += 1
              spent.parent += cost
              spent.calls += 1n
              if (charge.child) spent.child += cost
              // Only what cost more than was held, or was held no more, may lie beyond the limit.
              const held = answer.outcome === 'late' ? 0n : charge.micros
              if (cost > held) spent.beyond += cost - held
            }
          }),
        )
        await sweeping
        while (await job.step({ demand: async () => {} })) {}
        for (const [request, charge] of open) if (charge.expiresAt <= world.clock.now) open.delete(request)

        const held = [...open.values()]
        const sum = (charges: readonly Made[]) => charges.reduce((total, { micros }) => total + micros, 0n)
        const [onParent, onChild, onCalls] = await Promise.all([parent, child, counted].map((budget) => zone.standing(budget)))
        expect(onParent).toMatchObject({ spent: formatAmount(spent.parent), reserved: formatAmount(sum(held)) })
        expect(onChild).toMatchObject({ spent: formatAmount(spent.child), reserved: formatAmount(sum(held.filter((one) => one.child))) })
        expect(onCalls).toMatchObject({ spent: String(spent.calls), reserved: String(held.length) })
        expect(spent.parent + sum(held) <= LIMIT + spent.beyond).toBe(true)
        expect(spent.child + sum(held.filter((one) => one.child)) <= LIMIT / 2n + spent.beyond).toBe(true)
      }
      const usage = await zone.usage()
      expect(usage).toHaveLength(settled)
      expect(usage.reduce((total, { amount }) => total + (parseAmount(amount) ?? 0n), 0n)).toBe(spent.parent)
      const left = await inZone(zone.id, () =>
        world.database.query.selectFrom('charges').select('request').where('zone', '=', zone.id).where('state', '=', 'reserved').execute(),
      )
      expect(left.map(({ request }) => request).sort()).toEqual([...open.keys()].sort())
      world.clock.now += EXPIRATION_MS
      while (await job.step({ demand: async () => {} })) {}
    }),
    { numRuns: 20, endOnFailure: true },
  )
}, 120_000)
