import { type HeldBudget, newId, ok, type Result, refuse } from '@caracal/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { allowAll, type CallWorld, callWorld, rule, said } from '../test-support/call-world.ts'
import { streamsForTest, type TestStreams } from '../test-support/streams-for-test.ts'
import { decideCall } from './decide-call.ts'
import type { CallDependencies } from './governed-call.ts'
import { type Charge, type ChargeRequest, payersOf } from './reserve-budget.ts'

let store: TestStreams
beforeAll(async () => {
  store = await streamsForTest('postgres')
})
afterAll(() => store.close())

const PRICED = {
  scopes: ['read', 'write'],
  operations: [
    { method: 'GET', path: '/items/{id}', scope: 'read', price: { amount: '0.02', currency: 'EUR' } },
    { method: 'GET', path: '/free', scope: 'read' },
  ],
}

/** A world whose charges are noted, with budgets of these holders. */
function metered(
  holders: (w: CallWorld) => readonly Omit<HeldBudget, 'id'>[],
  options: { readonly required?: boolean; readonly rules?: Parameters<typeof callWorld>[1]; readonly refusal?: Result<never> } = {},
) {
  const w = callWorld(store, options.rules ?? [allowAll], PRICED)
  const budgets = holders(w).map((one) => ({ id: newId('budget'), ...one }))
  w.state.apply({ ...w.snapshot, version: w.snapshot.version + 1, budgets })
  const asked: ChargeRequest[] = []
  const ended: string[] = []
  const dependencies: CallDependencies = {
    ...w.dependencies,
    budgets: {
      required: options.required ?? false,
      reserve: async (request) => {
        asked.push(request)
        if (options.refusal !== undefined) return options.refusal
        const charge: Charge = {
          expiresAt: 0,
          settle: () => ended.push('settled'),
          release: async () => void ended.push('released'),
        }
        return ok(charge)
      },
    },
  }
  const decide = (over: Parameters<CallWorld['call']>[0] = {}) => decideCall(w.call({ path: '/items/7', ...over }), dependencies)
  return { w, asked, ended, dependencies, decide }
}

const EUR = (holder: HeldBudget['holder']) => ({ holder, currency: 'EUR' })
const CALLS = (holder: HeldBudget['holder']) => ({ holder, currency: null })

describe('charging a call', () => {
  test.each<[string, Parameters<typeof metered>[0], string, number]>([
    ['nobody has a budget', () => [], '/items/7', 0],
    ['only others have one', (w) => [CALLS(w.other.id)], '/items/7', 0],
    ['a budget in money, and a price', (w) => [EUR(w.agent.id)], '/items/7', 1],
    ['a budget in money, and no price', (w) => [EUR(w.agent.id)], '/free', 0],
    ['a budget in calls, and no price', (w) => [CALLS(w.agent.id)], '/free', 1],
    ['both, and no price', (w) => [EUR(w.agent.id), CALLS(w.agent.id)], '/free', 1],
  ])('[P-164] asks for a charge only where a budget counts the call: %s', async (_, holders, path, times) => {
    const { asked, decide } = metered(holders)
    expect(said(await decide({ path }))).toBe('allow')
    expect(asked).toHaveLength(times)
  })

  test('where a budget is required it is asked for every call', async () => {
    const { asked, decide } = metered(() => [], { required: true })
    expect(said(await decide({ path: '/free' }))).toBe('allow')
    expect(asked).toMatchObject([{ required: true, price: null }])
  })

  test('says who pays, for what and how much', async () => {
    const { w, asked, decide } = metered((world) => [EUR(world.agent.id)])
    const verdict = await decide()
    expect(asked).toMatchObject([
      {
        zone: w.snapshot.id,
        request: verdict.facts.call?.requestId,
        what: { application: w.agent.id, subject: null, session: null, resource: w.bank.identifier, operation: 'GET /items/{id}' },
        holders: [w.agent.id],
        price: { amount: '0.02', currency: 'EUR' },
      },
    ])
    expect(verdict.decision === 'allow' && verdict.facts.charge).toBeTruthy()
  })

  test('[P-045] everybody that the call stands on pays: lineage, subject, those who acted before and those who delegated', () => {
    const [client, before, delegator] = [newId('application'), newId('application'), newId('application')]
    const [root, leaf, delegation, subject] = [newId('session'), newId('session'), newId('delegation'), newId('subject')]
    const revocable = [newId('zone'), client, subject, newId('mandate'), root, leaf, delegation, newId('mandate'), before]
    const claims = { ctx: { principals: [{ application: delegator, depth: 0 }] } } as unknown as Parameters<typeof payersOf>[0]['claims']
    expect([...payersOf({ revocable, claims })].sort()).toEqual([client, before, delegator, root, leaf, delegation, subject].sort())
  })

  test.each(['budget_exceeded', 'budget_required', 'budget_currency', 'sts_unavailable', 'store_unavailable'] as const)(
    'a charge that is refused refuses the call: %s',
    async (reason) => {
      const { decide, ended } = metered((w) => [EUR(w.agent.id)], { refusal: refuse(reason, undefined, { remaining: '0' }) })
      const verdict = await decide()
      expect(verdict).toMatchObject({ decision: 'deny', at: 'reserveBudget', refusal: { reason, data: { remaining: '0' } } })
      expect(ended).toEqual([])
    },
  )

  test('[P-015] a call that cannot succeed charges nobody', async () => {
    const { asked, decide, w } = metered((world) => [CALLS(world.agent.id)], { rules: [rule({ id: 'no', effect: 'deny' }), allowAll] })
    expect(said(await decide())).toBe('denied_by_rule')
    expect(said(await decide({ path: '/nothing' }))).toBe('operation_not_declared')
    expect(said(await decide({ token: `${w.token()}x` }))).toBe('invalid_token')
    expect(asked).toEqual([])
  })

  test('[P-045] [P-066] what was taken is given back when the call is refused after it, and when it does not go out', async () => {
    const { w, ended, dependencies, decide } = metered((world) => [EUR(world.agent.id)])
    const reserve = dependencies.budgets?.reserve
    if (reserve === undefined) throw new Error('no budgets')
    const revoking: CallDependencies = {
      ...dependencies,
      budgets: {
        required: false,
        reserve: async (request) => {
          const taken = await reserve(request)
          w.revoke(w.agent.id, 'application')
          return taken
        },
      },
    }
    const allowed = await decide()
    if (allowed.decision === 'allow') await allowed.release()
    expect(ended).toEqual(['released'])
    expect(said(await decideCall(w.call({ path: '/items/7' }), revoking))).toBe('token_revoked')
    expect(ended).toEqual(['released', 'released'])
  })
})
