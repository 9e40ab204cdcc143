import { newId, type RevocationKind } from '@caracal/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ReplicaState } from '../replica/replica-state.ts'
import { allowAll, type CallWorld, callWorld, now, rule, said } from '../test-support/call-world.ts'
import { streamsForTest, type TestStreams } from '../test-support/streams-for-test.ts'
import { applicationNamed, operation, resourceNamed } from '../test-support/zone-for-test.ts'
import { decideCall } from './decide-call.ts'
import type { CallDependencies, GovernedCall } from './governed-call.ts'

let store: TestStreams
beforeAll(async () => {
  store = await streamsForTest('postgres')
})
afterAll(() => store.close())

/** One zone, one replica; what the tests vary. */
const world = (...over: Parameters<typeof callWorld> extends [TestStreams, ...infer Rest] ? Rest : never) => callWorld(store, ...over)

describe('an allowed call', () => {
  it('comes with everything its evidence needs', async () => {
    const { call, dependencies, agent, bank } = world()
    const verdict = await decideCall(call(), dependencies)
    if (verdict.decision !== 'allow') throw new Error(verdict.refusal.reason)
    expect(verdict.facts.application).toBe(agent)
    expect(verdict.facts.resource).toBe(bank)
    expect(verdict.facts.match).toMatchObject({ scope: 'read', template: '/items/{id}', params: { id: '7' } })
    expect(verdict.facts.decision).toMatchObject({ effect: 'allow', rules: ['main/all'] })
    expect(verdict).toMatchObject({ expiresAt: now + 300, revocationPosition: '7' })
    expect(verdict.facts.cutBy).toEqual([...verdict.facts.mandate.revocable, bank.id])
  })

  it('sends no statement to any store, first seen or not', async () => {
    const w = world()
    const before = store.database.statements()
    for (let i = 0; i < 50; i++) {
      const token = w.token()
      expect(said(await decideCall(w.call({ token }), w.dependencies))).toBe('allow')
      expect(said(await decideCall(w.call({ token }), w.dependencies))).toBe('allow')
    }
    // The streams of this file look for work once a second; a call of ours would be a hundred.
    expect(store.database.statements() - before).toBeLessThan(10)
  })

  it('may be addressed by name or by identifier', async () => {
    const { call, dependencies } = world()
    expect(said(await decideCall(call({ route: { by: 'identifier', value: 'https://bank.example/' } }), dependencies))).toBe('allow')
  })
})

describe('each step refuses with its own reason, before anything is consumed [P-015]', () => {
  const once = { once: true }
  const table: [string, string, string, (w: CallWorld) => GovernedCall | Promise<GovernedCall>][] = [
    ['a malformed mandate', 'invalid_token', 'verifyMandate', (w) => w.call({ token: 'x.y.z' })],
    [
      'an expired mandate',
      'token_expired',
      'verifyMandate',
      (w) => w.call({ token: w.token({ ...once, iat: now - 600, exp: now - 300 }) }),
    ],
    [
      'a bound mandate as plain Bearer [P-016]',
      'invalid_token',
      'bindSender',
      (w) => w.call({ token: w.token({ ...once, cnf: { jkt: 'a' } }) }),
    ],
    [
      'a mandate bound to another key [P-016]',
      'invalid_token',
      'bindSender',
      (w) => w.call({ token: w.token({ ...once, cnf: { jkt: 'a' } }), proof: { jkt: 'b' } }),
    ],
    [
      'half of a double binding [P-016]',
      'invalid_token',
      'bindSender',
      (w) => w.call({ token: w.token({ ...once, cnf: { jkt: 'a', 'x5t#S256': 'c' } }), proof: { jkt: 'a' } }),
    ],
    [
      'a mandate for a resource that is gone',
      'resource_unknown',
      'resolveResource',
      (w) => w.call({ token: w.token({ ...once, aud: 'https://gone.example/' }) }),
    ],
    [
      'a mandate for another resource',
      'wrong_audience',
      'checkAudience',
      (w) => w.call({ token: w.token(once), route: { by: 'name', value: 'shop' } }),
    ],
    [
      'a resource that does not exist, alike [P-033]',
      'wrong_audience',
      'checkAudience',
      (w) => w.call({ token: w.token(once), route: { by: 'name', value: 'nothing' } }),
    ],
    [
      'a name where an identifier is meant [P-020]',
      'wrong_audience',
      'checkAudience',
      (w) => w.call({ token: w.token(once), route: { by: 'identifier', value: 'bank' } }),
    ],
    [
      'an identifier in other case [P-020]',
      'wrong_audience',
      'checkAudience',
      (w) => w.call({ token: w.token(once), route: { by: 'identifier', value: 'https://BANK.example/' } }),
    ],
    [
      'an application that is gone',
      'invalid_token',
      'findApplication',
      (w) => w.call({ token: w.token({ ...once, client_id: newId('application') }) }),
    ],
    [
      'a revoked application',
      'token_revoked',
      'checkLineage',
      (w) => {
        w.revoke(w.agent.id, 'application')
        return w.call({ token: w.token(once) })
      },
    ],
    [
      'a deleted resource',
      'token_revoked',
      'checkLineage',
      (w) => {
        w.revoke(w.bank.id, 'resource')
        return w.call({ token: w.token(once) })
      },
    ],
    [
      'a stale view [P-056]',
      'revocation_view_stale',
      'requireFreshView',
      (w) => {
        w.clock.ms += 5001
        return w.call({ token: w.token(once) })
      },
    ],
    [
      'an undeclared operation [P-064]',
      'operation_not_declared',
      'matchOperation',
      (w) => w.call({ token: w.token(once), method: 'DELETE' }),
    ],
    ['an encoded separator [P-063]', 'malformed_path', 'matchOperation', (w) => w.call({ token: w.token(once), path: '/items/a%2Fb' })],
    [
      'a scope the mandate lacks',
      'insufficient_scope',
      'holdScope',
      (w) => w.call({ token: w.token({ ...once, scope: 'read' }), method: 'POST', path: '/items' }),
    ],
  ]
  it.each(table)('%s: %s', async (_, reason, step, make) => {
    const w = world()
    const verdict = await decideCall(await make(w), w.dependencies)
    expect(verdict).toMatchObject({ decision: 'deny', refusal: { reason }, at: step })
    expect([...w.claims]).toEqual([])
  })

  it.each([
    ['no active policy', null, 'no_active_policy'],
    ['no rule', [], 'no_rule_allows'],
    ['a deny rule', [allowAll, rule({ id: 'no', effect: 'deny' })], 'denied_by_rule'],
    ['a condition that fails', [allowAll, rule({ id: 'no', effect: 'deny', when: 'operation.params.missing == "x"' })], 'condition_failed'],
    ['a policy that does not compile [P-024]', [allowAll, rule({ id: 'bad', effect: 'deny', when: 'nonsense(' })], 'policy_unavailable'],
    [
      'a rule that wants a bound key',
      [rule({ id: 'sc', effect: 'allow', limits: { senderConstrained: true } })],
      'sender_constraint_required',
    ],
  ] as const)('%s', async (_, rules, reason) => {
    const w = world(rules)
    expect(said(await decideCall(w.call({ token: w.token({ once: true }) }), w.dependencies))).toBe(reason)
    expect([...w.claims]).toEqual([])
  })

  it('a hold answers with what has to be approved', async () => {
    const approval = { tier: 'payments', approvers: ['role:approver'], ttl: 900, distinctFromRequester: true }
    const w = world([rule({ id: 'human', effect: 'hold', approval })])
    expect(await decideCall(w.call(), w.dependencies)).toMatchObject({
      decision: 'hold',
      refusal: { reason: 'approval_required' },
      approval,
    })
  })

  it('a replica that is not loaded, or has not heard of its source for ten minutes, says so [P-012]', async () => {
    const w = world()
    const empty = { ...w.dependencies, state: new ReplicaState() }
    expect(said(await decideCall(w.call(), empty))).toBe('starting')
    w.clock.ms += 600_001
    w.view.proven()
    expect(said(await decideCall(w.call(), w.dependencies))).toBe('sts_unavailable')
    w.state.confirm()
    expect(said(await decideCall(w.call(), w.dependencies))).toBe('allow')
  })

  it('what is decided while nothing can be confirmed says so, within its bounds [4-16]', async () => {
    const w = world()
    const degraded = async () => {
      const verdict = await decideCall(w.call(), w.dependencies)
      return verdict.decision === 'allow' ? verdict.degraded : verdict.refusal.reason
    }
    expect(await degraded()).toBe(false)
    w.state.doubt()
    expect(await degraded()).toBe(true)
    w.state.confirm()
    w.clock.ms += 3_000 // no heartbeat of revocations for three seconds
    expect(await degraded()).toBe(true)
    w.clock.ms += 3_000
    expect(await degraded()).toBe('revocation_view_stale')
    w.view.proven()
    expect(await degraded()).toBe(false)
  })

  it('asked to confirm each call, it refuses what is not confirmed [4-16]', async () => {
    const w = world()
    const answer = { said: true, asked: 0 }
    const confirm = async () => {
      answer.asked += 1
      return answer.said
    }
    const decide = async () => said(await decideCall(w.call(), { ...w.dependencies, confirm }))
    expect([await decide(), await decide(), answer.asked]).toEqual(['allow', 'allow', 2])
    answer.said = false
    expect(await decide()).toBe('sts_unavailable')
  })
})

describe('revocation', () => {
  it.each<[RevocationKind, (w: CallWorld) => [string, Record<string, unknown>]]>([
    ['zone', (w) => [w.snapshot.id, {}]],
    ['application', (w) => [w.agent.id, {}]],
    [
      'subject',
      () => {
        const sub = newId('subject')
        return [sub, { sub, ctx: { subject: { issuer: 'https://idp.example', claims: {} } } }]
      },
    ],
    [
      'session',
      () => {
        const ses = newId('session')
        return [ses, { ses: [ses, newId('session')], ctx: { session: { kind: 'task', depth: 2, labels: [] } } }]
      },
    ],
    [
      'delegation',
      (w) => {
        const dlg = newId('delegation')
        return [dlg, { dlg: [newId('delegation'), dlg], ctx: { principals: [{ application: w.other.id, depth: 0 }] } }]
      },
    ],
    [
      'mandate',
      () => {
        const jti = newId('mandate')
        return [jti, { jti }]
      },
    ],
    [
      'mandate',
      () => {
        const mnd = newId('mandate')
        return [mnd, { mnd: [mnd] }]
      },
    ],
    ['resource', (w) => [w.bank.id, {}]],
  ])('of a %s bites at the next call, verified before or not [P-054] [P-052]', async (kind, make) => {
    const w = world()
    const [id, claims] = make(w)
    const token = w.token(claims)
    expect(said(await decideCall(w.call({ token }), w.dependencies))).toBe('allow')
    w.revoke(id, kind)
    expect(said(await decideCall(w.call({ token }), w.dependencies))).toBe('token_revoked')
  })

  it('that comes while the body is awaited still bites [P-038]', async () => {
    const w = world([rule({ id: 'small', effect: 'allow', when: 'operation.body.amount < 5.0' })])
    const call = w.call({ method: 'POST', path: '/items', token: w.token({ once: true }) })
    const verdict = await decideCall(
      {
        ...call,
        body: async () => {
          w.revoke(w.agent.id, 'application')
          return { amount: 1 }
        },
      },
      w.dependencies,
    )
    expect(verdict).toMatchObject({ refusal: { reason: 'token_revoked' }, at: 'checkLineageAgain' })
    expect([...w.claims]).toEqual([])
  })
})

describe('what the replica does not know yet', () => {
  it('is read anew once before it is refused', async () => {
    const w = world()
    const fresh = applicationNamed(w.snapshot.id, 'fresh')
    const added = resourceNamed(w.snapshot.id, 'added', { operations: [operation('GET /{path+} read')], scopes: ['read'] })
    let read = 0
    const dependencies: CallDependencies = {
      ...w.dependencies,
      refresh: async () => {
        read++
        w.state.apply({ ...w.snapshot, version: 2, applications: [fresh], resources: [added] })
      },
    }
    const token = w.token({ aud: added.identifier, scope: 'read' }, fresh)
    expect(said(await decideCall(w.call({ token, route: { by: 'name', value: 'added' } }), dependencies))).toBe('allow')
    expect(read).toBe(1)
  })
})
