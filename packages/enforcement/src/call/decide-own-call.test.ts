import { newId } from '@caracal/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CallWorld, callWorld, rule, said } from '../test-support/call-world.ts'
import { streamsForTest, type TestStreams } from '../test-support/streams-for-test.ts'
import { decideCall } from './decide-call.ts'
import { decideOwnCall } from './decide-own-call.ts'

let store: TestStreams
beforeAll(async () => {
  store = await streamsForTest('postgres')
})
afterAll(() => store.close())

/** One zone, one replica; what the tests vary. */
const world = (...over: Parameters<typeof callWorld> extends [TestStreams, ...infer Rest] ? Rest : never) => callWorld(store, ...over)

describe('calls to Caracal itself', () => {
  const own = (w: CallWorld, claims: Record<string, unknown> = {}, scope = 'sessions') =>
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
