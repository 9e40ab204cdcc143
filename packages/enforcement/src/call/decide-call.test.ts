import { newId, type PolicyRule, type Resource, type RevocationKind, type ZoneSnapshot } from '@caracal/core'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mandateVerifier } from '../mandate/verify-mandate.ts'
import { parsePath } from '../operation/parse-path.ts'
import { ReplicaState } from '../replica/replica-state.ts'
import { RevocationView } from '../revocation/revocation-view.ts'
import { streamsForTest, type TestStreams } from '../test-support/streams-for-test.ts'
import { applicationNamed, claimsFor, operation, resourceNamed, signingKey, signJws, zoneSnapshot } from '../test-support/zone-for-test.ts'
import { decideCall } from './decide-call.ts'
import { decideOwnCall } from './decide-own-call.ts'
import type { CallDependencies, CallVerdict, GovernedCall } from './governed-call.ts'

const now = 1_700_000_000
let store: TestStreams
beforeAll(async () => {
  store = await streamsForTest('postgres')
})
afterAll(() => store.close())
const key = signingKey()

function rule(over: Partial<PolicyRule> & Pick<PolicyRule, 'id' | 'effect'>): PolicyRule {
  return { scopes: ['*'], on: ['*'], for: { any: true }, ...over }
}

function policy(rules: readonly PolicyRule[], sha256 = JSON.stringify(rules)): ZoneSnapshot['policy'] {
  return { setVersion: newId('policySetVersion'), sha256, documents: [{ kind: 'Policy', name: 'main', rules }] }
}

const allowAll = rule({ id: 'all', effect: 'allow' })

/** One zone with two applications and two resources, a fresh view, and the claims it holds in the shared store. */
function world(rules: readonly PolicyRule[] | null = [allowAll], resourceOver: Partial<Resource> = {}) {
  const clock = { ms: 0, wall: now * 1000 }
  const monotonic = () => clock.ms
  const id = newId('zone')
  const agent = applicationNamed(id, 'agent', ['finance'])
  const other = applicationNamed(id, 'other')
  const bank = resourceNamed(id, 'bank', resourceOver)
  const shop = resourceNamed(id, 'shop')
  const snapshot = zoneSnapshot({
    id,
    keys: [key.jwk],
    applications: [agent, other],
    resources: [bank, shop],
    policy: rules === null ? null : policy(rules),
  })
  const state = new ReplicaState({ monotonic })
  state.apply(snapshot)
  state.confirm()
  const view = new RevocationView({ monotonic })
  view.startLoading().finish({ position: '7', entries: [] })
  const claims = new Map<string, string>()
  const dependencies: CallDependencies = {
    state,
    view,
    verifier: mandateVerifier({ keyring: (zone) => state.zone(zone)?.keyring }),
    claim: async (name, owner, ttl) => {
      const got = await store.streams.claim(name, owner, ttl)
      if (got) claims.set(name, owner)
      return got
    },
    release: async (name, owner) => {
      await store.streams.release(name, owner)
      claims.delete(name)
    },
    clock: () => clock.wall,
  }
  const token = (over: Record<string, unknown> = {}, application = agent) => signJws(key, claimsFor(snapshot, application.id, now, over))
  let bodiesRead = 0
  function call(over: Partial<Omit<GovernedCall, 'path' | 'body'>> & { path?: string; body?: unknown } = {}): GovernedCall {
    const path = parsePath(over.path ?? '/items/7')
    if (!path.ok) throw new Error('bad path')
    return {
      requestId: newId('request'),
      token: over.token ?? token(),
      route: over.route ?? { by: 'name', value: 'bank' },
      method: over.method ?? 'GET',
      path: path.value,
      query: over.query ?? {},
      headers: over.headers ?? {},
      body: async () => {
        bodiesRead++
        return over.body ?? null
      },
      peer: '192.0.2.1',
      proof: over.proof,
    }
  }
  const revoke = (revoked: string, kind: RevocationKind = 'session') =>
    view.apply({ v: 1, op: 'revoke', kind, id: revoked, zone: id, at: 0, reason: 'test' })
  return { clock, snapshot, agent, other, bank, state, view, claims, dependencies, token, call, revoke, bodiesRead: () => bodiesRead }
}

const said = (verdict: CallVerdict) => (verdict.decision === 'allow' ? 'allow' : verdict.refusal.reason)

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
  type World = ReturnType<typeof world>
  const once = { once: true }
  const table: [string, string, string, (w: World) => GovernedCall | Promise<GovernedCall>][] = [
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
})

describe('revocation', () => {
  it.each<[RevocationKind, (w: ReturnType<typeof world>) => [string, Record<string, unknown>]]>([
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
      () => {
        const dlg = newId('delegation')
        return [dlg, { dlg: [newId('delegation'), dlg] }]
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

describe('single use [P-017]', () => {
  it('lets one of many parallel calls through, at all replicas together', async () => {
    const w = world()
    const token = w.token({ once: true })
    const verdicts = await Promise.all(Array.from({ length: 20 }, () => decideCall(w.call({ token }), { ...w.dependencies })))
    expect(verdicts.map(said).sort()).toEqual(['allow', ...Array.from({ length: 19 }, () => 'token_replayed')])
  })

  it('a repeated claim of the same request is no replay', async () => {
    const w = world()
    const call = w.call({ token: w.token({ once: true }) })
    expect(said(await decideCall(call, w.dependencies))).toBe('allow')
    expect(said(await decideCall(call, w.dependencies))).toBe('allow')
  })

  it('a call that did not go out gives the mandate back, exactly its own', async () => {
    const w = world()
    const token = w.token({ once: true })
    const first = await decideCall(w.call({ token }), w.dependencies)
    expect(said(await decideCall(w.call({ token }), w.dependencies))).toBe('token_replayed')
    if (first.decision === 'allow') await first.release()
    expect(said(await decideCall(w.call({ token }), w.dependencies))).toBe('allow')
  })

  it('may be demanded by the resource or by a rule that is active now', async () => {
    for (const w of [world([allowAll], { once: true }), world([rule({ id: 'once', effect: 'allow', limits: { once: true } })])]) {
      const token = w.token()
      expect(said(await decideCall(w.call({ token }), w.dependencies))).toBe('allow')
      expect(said(await decideCall(w.call({ token }), w.dependencies))).toBe('token_replayed')
    }
  })

  it('without its store is 503, not a replay', async () => {
    const w = world()
    const dependencies = { ...w.dependencies, claim: () => Promise.reject(new Error('away')) }
    expect(said(await decideCall(w.call({ token: w.token({ once: true }) }), dependencies))).toBe('store_unavailable')
    expect(said(await decideCall(w.call(), dependencies))).toBe('allow')
  })
})

describe('rules hold at use as at mint [P-030]', () => {
  it('a policy change governs mandates that are already out', async () => {
    const w = world()
    const token = w.token()
    expect(said(await decideCall(w.call({ token }), w.dependencies))).toBe('allow')
    w.state.apply({ ...w.snapshot, version: 2, policy: policy([allowAll, rule({ id: 'frozen', effect: 'deny' })]) })
    expect(said(await decideCall(w.call({ token }), w.dependencies))).toBe('denied_by_rule')
    w.state.apply({ ...w.snapshot, version: 3, policy: policy([rule({ id: 'short', effect: 'allow', limits: { maxTtl: 60 } })]) })
    expect(await decideCall(w.call({ token }), w.dependencies)).toMatchObject({ decision: 'allow', expiresAt: now + 60 })
    w.clock.wall += 60_000
    expect(said(await decideCall(w.call({ token }), w.dependencies))).toBe('token_expired')
  })

  it('sees session and subject as they were at mint, and the call as it is', async () => {
    const w = world([
      rule({
        id: 'r',
        effect: 'allow',
        for: { sessions: ['service'], subjects: [{ issuer: 'https://idp.example', claims: { team: 'a' } }] },
        when: 'session.depth == 2 && delegation.depth == 1 && operation.params.id == "7" && operation.query.q == "1" && request.peer == "192.0.2.1"',
      }),
    ])
    const claims = {
      sub: newId('subject'),
      ses: [newId('session'), newId('session'), newId('session')],
      dlg: [newId('delegation')],
      ctx: { session: { kind: 'service', depth: 2, labels: [] }, subject: { issuer: 'https://idp.example', claims: { team: 'a' } } },
    }
    const query = { q: '1' }
    expect(said(await decideCall(w.call({ token: w.token(claims), query }), w.dependencies))).toBe('allow')
    expect(said(await decideCall(w.call({ token: w.token({ ...claims, dlg: undefined }), query }), w.dependencies))).toBe('no_rule_allows')
    expect(said(await decideCall(w.call({ token: w.token(claims), query: { q: ['1', '1'] } }), w.dependencies))).toBe('condition_failed')
  })

  it.each([
    ['/items/%61dmin', 'denied_by_rule'],
    ['/items/admin', 'denied_by_rule'],
    ['/items/a%64min', 'denied_by_rule'],
    ['/items/adm', 'allow'],
  ])('a rule about the path or its parameters meets every spelling: %s → %s [P-063]', async (path, reason) => {
    for (const when of ['operation.params.id == "admin"', 'operation.path == "/items/admin"']) {
      const w = world([allowAll, rule({ id: 'no', effect: 'deny', when })])
      expect(said(await decideCall(w.call({ path }), w.dependencies))).toBe(reason)
    }
  })

  it('reads the body only where a rule reads it', async () => {
    const w = world([allowAll, rule({ id: 'big', effect: 'deny', scopes: ['write'], when: 'operation.body.amount > 500.0' })])
    expect(said(await decideCall(w.call(), w.dependencies))).toBe('allow')
    expect(w.bodiesRead()).toBe(0)
    const post = { method: 'POST', path: '/items' }
    expect(said(await decideCall(w.call({ ...post, body: { amount: 5 } }), w.dependencies))).toBe('allow')
    expect(said(await decideCall(w.call({ ...post, body: { amount: 501 } }), w.dependencies))).toBe('denied_by_rule')
    expect(w.bodiesRead()).toBe(2)
  })
})

describe('a body that takes its time', () => {
  it('is decided with the policy that is active when it came [P-030]', async () => {
    const w = world([rule({ id: 'small', effect: 'allow', when: 'operation.body.amount < 5.0' })])
    const slow = async () => {
      w.state.apply({ ...w.snapshot, version: 2, policy: policy([allowAll, rule({ id: 'frozen', effect: 'deny' })]) })
      return { amount: 1 }
    }
    expect(said(await decideCall({ ...w.call({ method: 'POST', path: '/items' }), body: slow }, w.dependencies))).toBe('denied_by_rule')
  })
})

describe('calls to Caracal itself', () => {
  const own = (w: ReturnType<typeof world>, claims: Record<string, unknown> = {}, scope = 'sessions') =>
    decideOwnCall(
      {
        requestId: newId('request'),
        token: w.token({ aud: w.snapshot.issuer, scope: 'sessions', ...claims }),
        scope,
        method: 'POST',
        path: '/v1/zones/z/sessions',
        template: '/v1/zones/:zone/sessions',
        params: {},
        peer: '192.0.2.1',
      },
      w.dependencies,
    )

  it('need no allow, but a mandate for this zone with the scope', async () => {
    for (const w of [world([]), world(null)]) {
      expect(await own(w)).toMatchObject({ decision: 'allow', facts: { application: w.agent } })
      expect(await own(w, { aud: 'https://bank.example/' })).toMatchObject({ refusal: { reason: 'wrong_audience' } })
      expect(await own(w, {}, 'delegations')).toMatchObject({ refusal: { reason: 'insufficient_scope' } })
    }
  })

  it('are denied by rules, revocation and a stale view as any other', async () => {
    expect(await own(world([rule({ id: 'no', effect: 'deny' })]))).toMatchObject({ refusal: { reason: 'denied_by_rule' } })
    const w = world([])
    w.revoke(w.agent.id, 'application')
    expect(await own(w)).toMatchObject({ refusal: { reason: 'token_revoked' } })
    const stale = world([])
    stale.clock.ms += 5001
    expect(await own(stale)).toMatchObject({ refusal: { reason: 'revocation_view_stale' } })
  })

  it('take no mandate for them at a resource, and none for a resource here [P-015]', async () => {
    const w = world()
    expect(said(await decideCall(w.call({ token: w.token({ aud: w.snapshot.issuer }) }), w.dependencies))).toBe('resource_unknown')
  })
})

describe('what is remembered never crosses callers or calls [P-075]', () => {
  it('interleaved callers get what each gets alone', async () => {
    const rules = [
      rule({ id: 'agent', effect: 'allow', for: { applications: ['agent'] }, scopes: ['read'] }),
      rule({ id: 'other', effect: 'allow', for: { applications: ['other'] }, when: 'operation.body.amount < 10.0', scopes: ['write'] }),
      rule({ id: 'short', effect: 'deny', when: 'mandate.ttl > 500' }),
    ]
    const step = fc.record({
      who: fc.constantFrom('agent' as const, 'other' as const),
      write: fc.boolean(),
      amount: fc.integer({ min: 0, max: 20 }),
      long: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (calls) => {
        const w = world(rules)
        const tokens = new Map<string, string>()
        for (const { who, write, amount, long } of calls) {
          const name = `${who}${long}`
          const token = tokens.get(name) ?? w.token({ exp: now + (long ? 600 : 300) }, w[who])
          tokens.set(name, token)
          const verdict = await decideCall(
            w.call({ token, ...(write ? { method: 'POST', path: '/items', body: { amount } } : {}) }),
            w.dependencies,
          )
          const expected = long
            ? 'denied_by_rule'
            : who === 'agent'
              ? write
                ? 'no_rule_allows'
                : 'allow'
              : write && amount < 10
                ? 'allow'
                : 'no_rule_allows'
          expect(said(verdict)).toBe(expected)
        }
      }),
      { numRuns: 30 },
    )
  })
})

describe('no failure becomes permission [P-076]', () => {
  const boom = () => {
    throw new Error('broken')
  }
  it.each<[string, (w: ReturnType<typeof world>) => CallDependencies]>([
    ['the verifier', (w) => ({ ...w.dependencies, verifier: { verify: boom, cached: () => 0 } })],
    ['the revocation view', (w) => ({ ...w.dependencies, view: Object.assign(Object.create(w.view), { isRevoked: boom }) })],
    ['its freshness', (w) => ({ ...w.dependencies, view: Object.assign(Object.create(w.view), { isRevoked: () => null, unfit: boom }) })],
    ['the state', (w) => ({ ...w.dependencies, state: Object.assign(Object.create(w.state), { standing: boom }) })],
    ['the clock', (w) => ({ ...w.dependencies, clock: boom })],
  ])('a throw in %s goes through and allows nothing', async (_, broken) => {
    const w = world()
    await expect(decideCall(w.call(), broken(w))).rejects.toThrow('broken')
  })

  it('a throw after the claim gives the mandate back', async () => {
    const w = world([rule({ id: 'b', effect: 'allow', when: 'operation.body.amount < 10.0' })])
    await expect(decideCall({ ...w.call({ token: w.token({ once: true }) }), body: boom }, w.dependencies)).rejects.toThrow('broken')
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
