import { newId } from '@caracal/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ProvenCaller } from '../caller/proven-caller.ts'
import { allowAll, type CallWorld, callWorld, now, rule, said } from '../test-support/call-world.ts'
import { streamsForTest, type TestStreams } from '../test-support/streams-for-test.ts'
import { decideCall } from './decide-call.ts'

let store: TestStreams
beforeAll(async () => {
  store = await streamsForTest('postgres')
})
afterAll(() => store.close())

const world = (...over: Parameters<typeof callWorld> extends [TestStreams, ...infer Rest] ? Rest : never) => callWorld(store, ...over)
const caller = (w: CallWorld, over: Partial<ProvenCaller> = {}): ProvenCaller => ({
  zone: w.snapshot.id,
  application: w.agent.id,
  credential: { kind: 'api_key', id: newId('credential') },
  expiresAt: null,
  use: null,
  ...over,
})
const decide = (w: CallWorld, over: Partial<ProvenCaller> = {}, call: Parameters<CallWorld['call']>[0] = {}) =>
  decideCall(w.call({ ...call, caller: caller(w, over) }), w.dependencies)

describe('a proven caller', () => {
  it('may what policy allows its application directly, as a mandate with all scopes would', async () => {
    const w = world([rule({ id: 'own', effect: 'allow', for: { applications: ['agent'] }, scopes: ['read'] })])
    const verdict = await decide(w)
    if (verdict.decision !== 'allow') throw new Error(verdict.refusal.reason)
    expect(verdict.facts.mandate.claims).toMatchObject({ client_id: w.agent.id, sub: w.agent.id, scope: 'read write' })
    expect(verdict.facts.cutBy).toEqual([w.snapshot.id, w.agent.id, verdict.facts.mandate.credential?.id, w.bank.id])
    expect(verdict.expiresAt).toBe(now + 900)
    expect(said(await decide(w, {}, { method: 'POST', path: '/items' }))).toBe('no_rule_allows')
    expect(said(await decide(w, { application: w.other.id }))).toBe('no_rule_allows')
  })

  it('ends with its key, and at the latest after a rule’s longest life', async () => {
    const ends = async (over: Partial<ProvenCaller>, w = world()) => {
      const verdict = await decide(w, over)
      return verdict.decision === 'allow' ? verdict.expiresAt : verdict.refusal.reason
    }
    expect(await ends({ expiresAt: now + 10 })).toBe(now + 10)
    expect(await ends({ expiresAt: now + 10_000 })).toBe(now + 900)
    expect(await ends({}, world([{ ...allowAll, limits: { maxTtl: 30 } }]))).toBe(now + 30)
  })

  it('falls with its key, its application and its zone, like anything that is revoked', async () => {
    for (const [kind, of] of [
      ['credential', (_: CallWorld, by: ProvenCaller) => by.credential.id],
      ['application', (w: CallWorld) => w.agent.id],
      ['zone', (w: CallWorld) => w.snapshot.id],
      ['resource', (w: CallWorld) => w.bank.id],
    ] as const) {
      const w = world()
      const by = caller(w)
      w.revoke(of(w, by), kind)
      expect(said(await decideCall(w.call({ caller: by }), w.dependencies)), kind).toBe('token_revoked')
    }
  })

  it('is sender-constrained exactly when it proved a key', async () => {
    const w = world([{ ...allowAll, limits: { senderConstrained: true } }])
    expect(said(await decide(w))).toBe('sender_constraint_required')
    expect(said(await decide(w, { proof: { 'x5t#S256': 'a' } }))).toBe('allow')
  })

  it('uses its one-time id up when it goes out, and gets it back when it is refused [P-017]', async () => {
    const w = world([rule({ id: 'own', effect: 'allow', scopes: ['read'] })])
    const use = { key: `nonce:${newId('request')}`, ttl: 60 }
    expect(said(await decide(w, { use }, { method: 'POST', path: '/items' }))).toBe('no_rule_allows')
    expect(w.claims.has(use.key)).toBe(false)
    expect(said(await decide(w, { use }))).toBe('allow')
    expect(said(await decide(w, { use }))).toBe('nonce_replayed')
    expect(w.claims.has(use.key)).toBe(true)
  })

  it('needs a one-time id for what may happen once', async () => {
    const once = world([allowAll], { once: true })
    expect(said(await decide(once))).toBe('nonce_required')
    expect(said(await decide(once, { use: { key: `nonce:${newId('request')}`, ttl: 60 } }))).toBe('allow')
    const ruled = world([{ ...allowAll, limits: { once: true } }])
    expect(said(await decide(ruled))).toBe('nonce_required')
  })

  it('finds a resource in its own zone only, by the name that it addresses', async () => {
    const w = world()
    expect(said(await decide(w, {}, { route: { by: 'identifier', value: 'https://bank.example/' } }))).toBe('allow')
    expect(said(await decide(w, {}, { route: { by: 'name', value: 'nothing' } }))).toBe('resource_unknown')
    expect(said(await decide(w, { zone: newId('zone') }))).toBe('invalid_client')
    expect(said(await decide(w, { application: newId('application') }))).toBe('invalid_token')
  })

  it('is not served without a fresh view, nor while policy cannot be loaded', async () => {
    const stale = world()
    stale.clock.ms += 6_000
    expect(said(await decide(stale))).toBe('revocation_view_stale')
    const failed = world()
    failed.state.fail(failed.snapshot.id, 'broken')
    expect(said(await decide(failed))).toBe('policy_unavailable')
  })
})
