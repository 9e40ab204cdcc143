import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rememberUses } from '../caller/guard-replay.ts'
import { allowAll, type CallWorld, callWorld, rule, said } from '../test-support/call-world.ts'
import { streamsForTest, type TestStreams } from '../test-support/streams-for-test.ts'
import { decideCall } from './decide-call.ts'
import type { CallDependencies } from './governed-call.ts'

let store: TestStreams
beforeAll(async () => {
  store = await streamsForTest('postgres')
})
afterAll(() => store.close())

/** One zone, one replica; what the tests vary. */
const world = (...over: Parameters<typeof callWorld> extends [TestStreams, ...infer Rest] ? Rest : never) => callWorld(store, ...over)

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

describe('no failure becomes permission [P-076]', () => {
  const boom = () => {
    throw new Error('broken')
  }
  it.each<[string, (w: CallWorld) => CallDependencies]>([
    ['the verifier', (w) => ({ ...w.dependencies, verifier: { verify: boom, knows: () => false, cached: () => 0 } })],
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

describe('what is claimed with the evidence [P-017]', () => {
  const later = (w: CallWorld, size = 10) => {
    const uses = rememberUses(w.dependencies, size)
    return { ...w.dependencies, claim: uses.claim, release: uses.release, later: uses }
  }

  it('is claimed by nobody while it is decided; the verdict says it once, and gives back what was said', async () => {
    const w = world()
    const dependencies = later(w)
    const token = w.token({ once: true })
    const first = await decideCall(w.call({ token }), dependencies)
    if (first.decision !== 'allow') throw new Error(said(first))
    expect(w.claims.size).toBe(0)
    expect(said(await decideCall(w.call({ token }), dependencies))).toBe('token_replayed')
    const claim = first.claim()
    expect(claim).toMatchObject({ key: expect.stringMatching(/^once:zon_/), owner: first.facts.call.requestId })
    expect(first.claim()).toBeNull()
    if (claim !== null) await w.dependencies.claim(claim.key, claim.owner, claim.ttl)
    await first.release()
    expect(w.claims.size).toBe(0)
    expect(said(await decideCall(w.call({ token }), dependencies))).toBe('allow')
  })

  it('is free again when the call is refused, or does not go out before it was claimed', async () => {
    const w = world([rule({ id: 'none', effect: 'deny' })])
    const dependencies = later(w)
    const token = w.token({ once: true })
    for (let tries = 0; tries < 2; tries += 1) expect(said(await decideCall(w.call({ token }), dependencies))).toBe('denied_by_rule')
    const open = world()
    const again = later(open)
    const single = open.token({ once: true })
    for (let tries = 0; tries < 2; tries += 1) {
      const verdict = await decideCall(open.call({ token: single }), again)
      expect(said(verdict)).toBe('allow')
      if (verdict.decision === 'allow') await verdict.release()
    }
    expect([w.claims.size, open.claims.size]).toEqual([0, 0])
  })

  it('that somebody else has is remembered: who comes with it again is refused without asking', async () => {
    const w = world()
    const dependencies = later(w)
    const token = w.token({ once: true })
    const verdict = await decideCall(w.call({ token }), dependencies)
    if (verdict.decision !== 'allow') throw new Error(said(verdict))
    verdict.claim()
    await verdict.lost()
    expect(said(await decideCall(w.call({ token }), dependencies))).toBe('token_replayed')
  })
})
