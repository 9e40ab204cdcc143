import { newId } from '@caracal/core'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { allowAll, callWorld, now, policy, rule, said } from '../test-support/call-world.ts'
import { streamsForTest, type TestStreams } from '../test-support/streams-for-test.ts'
import { decideCall } from './decide-call.ts'

let store: TestStreams
beforeAll(async () => {
  store = await streamsForTest('postgres')
})
afterAll(() => store.close())

/** One zone, one replica; what the tests vary. */
const world = (...over: Parameters<typeof callWorld> extends [TestStreams, ...infer Rest] ? Rest : never) => callWorld(store, ...over)

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
      ctx: {
        session: { kind: 'service', depth: 2, labels: [] },
        subject: { issuer: 'https://idp.example', claims: { team: 'a' } },
        principals: [{ application: w.other.id, depth: 1, session: { id: newId('session'), kind: 'service', depth: 2, labels: [] } }],
      },
    }
    const query = { q: '1' }
    expect(said(await decideCall(w.call({ token: w.token(claims), query }), w.dependencies))).toBe('allow')
    expect(said(await decideCall(w.call({ token: w.token({ ...claims, dlg: undefined }), query }), w.dependencies))).toBe('no_rule_allows')
    expect(said(await decideCall(w.call({ token: w.token(claims), query: { q: ['1', '1'] } }), w.dependencies))).toBe('condition_failed')
  })

  describe('whoever acts on the authority of others has what all of them have [P-002]', () => {
    const small = rule({
      id: 'small',
      effect: 'allow',
      for: { applications: ['other'] },
      when: 'session.kind == "task" && operation.query.amount == "1"',
    })
    const mine = rule({ id: 'mine', effect: 'allow', for: { applications: ['agent'] }, limits: { maxTtl: 250 } })
    const others = (session: 'task' | 'service', w: ReturnType<typeof world>) => ({
      dlg: [newId('delegation')],
      ctx: { principals: [{ application: w.other.id, depth: 0, session: { id: newId('session'), kind: session, depth: 1, labels: [] } }] },
    })

    it('a condition of theirs that waited for the call counts at the call', async () => {
      const w = world([mine, small])
      const ask = async (amount: string, claims: Record<string, unknown>) =>
        said(await decideCall(w.call({ token: w.token(claims), query: { amount } }), w.dependencies))
      expect(await ask('500', {})).toBe('allow')
      expect(await ask('1', others('task', w))).toBe('allow')
      expect(await ask('500', others('task', w))).toBe('no_rule_allows')
      expect(await ask('1', others('service', w))).toBe('no_rule_allows')
    })

    it('what they are denied, or must ask for, or what limits them, since the mint', async () => {
      const w = world()
      const token = w.token(others('task', w))
      let version = 1
      const under = async (...rules: ReturnType<typeof rule>[]) => {
        version += 1
        w.state.apply({ ...w.snapshot, version, policy: policy(rules) })
        return decideCall(w.call({ token }), w.dependencies)
      }
      const theirs = { for: { applications: ['other'] } }
      const approval = { tier: 'ops', approvers: ['role:approver'], ttl: 900, distinctFromRequester: true }
      expect(said(await under(allowAll))).toBe('allow')
      expect(said(await under(allowAll, rule({ id: 'no', effect: 'deny', ...theirs })))).toBe('denied_by_rule')
      expect(await under(allowAll, rule({ id: 'ask', effect: 'hold', approval, ...theirs }))).toMatchObject({ decision: 'hold', approval })
      const short = rule({ id: 'short', effect: 'allow', limits: { maxTtl: 60 }, ...theirs })
      expect(await under(mine, short)).toMatchObject({
        decision: 'allow',
        expiresAt: now + 60,
        facts: { decision: { rules: ['main/mine', 'main/short'] } },
      })
      w.state.apply({ ...w.snapshot, version: version + 1, applications: [w.agent] })
      expect(said(await decideCall(w.call({ token }), w.dependencies))).toBe('no_rule_allows')
    })
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
