import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { allowAll, callWorld, policy, rule } from '../test-support/call-world.ts'
import { streamsForTest, type TestStreams } from '../test-support/streams-for-test.ts'
import { decideCall, noLongerAllowed } from './decide-call.ts'

let store: TestStreams
beforeAll(async () => {
  store = await streamsForTest('postgres')
})
afterAll(() => store.close())

/** A call under way in a zone that is then changed; why it would not be allowed any more. */
async function underWay(change: (world: ReturnType<typeof callWorld>) => void, body: unknown = null) {
  const world = callWorld(store)
  const verdict = await decideCall(world.call({ body }), world.dependencies)
  if (verdict.decision !== 'allow') throw new Error(verdict.refusal.reason)
  change(world)
  return noLongerAllowed(verdict.facts, body, world.dependencies)
}

describe('[P-060] [P-030] a call under way when its zone changes', () => {
  it('stands while nothing that concerns it changed', async () => {
    expect(await underWay(() => {})).toBeNull()
    expect(
      await underWay((w) =>
        w.state.apply({ ...w.snapshot, version: 2, policy: policy([allowAll, rule({ id: 'x', effect: 'deny', scopes: ['none'] })]) }),
      ),
    ).toBeNull()
    // What cannot be loaded says nothing: new calls are refused, those under way are decided by the next version.
    expect(await underWay((w) => w.state.fail(w.snapshot.id, 'broken'))).toBeNull()
  })

  it.each([
    ['a deny', [allowAll, rule({ id: 'frozen', effect: 'deny' })], 'denied_by_rule'],
    ['no rule that allows it', [rule({ id: 'other', effect: 'allow', on: ['https://other.example/*'] })], 'no_rule_allows'],
    [
      'a hold',
      [rule({ id: 'ask', effect: 'hold', approval: { tier: 'a', approvers: ['role:approver'], ttl: 60, distinctFromRequester: true } })],
      'approval_required',
    ],
    ['a condition on what is not there', [rule({ id: 'when', effect: 'allow', when: 'operation.body.n == 1.0' })], 'condition_failed'],
  ] as const)('falls with %s', async (_what, rules, reason) => {
    expect(await underWay((w) => w.state.apply({ ...w.snapshot, version: 2, policy: policy(rules) }))).toBe(reason)
  })

  it('falls with every policy, its Application, its Resource, its operation and its zone', async () => {
    expect(await underWay((w) => w.state.apply({ ...w.snapshot, version: 2, policy: null }))).toBe('no_active_policy')
    expect(await underWay((w) => w.state.apply({ ...w.snapshot, version: 2, applications: [w.other] }))).toBe('token_revoked')
    expect(await underWay((w) => w.state.apply({ ...w.snapshot, version: 2, resources: [] }))).toBe('resource_unknown')
    const closed = (w: ReturnType<typeof callWorld>) => [{ ...w.bank, operations: [], scopes: ['another'] }]
    expect(await underWay((w) => w.state.apply({ ...w.snapshot, version: 2, resources: closed(w) }))).toBe('insufficient_scope')
    expect(await underWay((w) => w.state.remove(w.snapshot.id))).toBe('token_revoked')
  })

  it('is decided with the body that was looked at', async () => {
    const rules = [rule({ id: 'small', effect: 'allow', when: 'operation.body.n < 10.0' })]
    const change = (w: ReturnType<typeof callWorld>) => w.state.apply({ ...w.snapshot, version: 2, policy: policy(rules) })
    expect(await underWay(change, { n: 2 })).toBeNull()
    expect(await underWay(change, { n: 20 })).toBe('no_rule_allows')
  })
})
