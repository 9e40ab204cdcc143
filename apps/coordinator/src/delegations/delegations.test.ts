import { type Application, type Delegation, type MandateClaims, newId, type Revocation, revocableIds, type Session } from '@caracal/core'
import { joinLineage, RevocationView } from '@caracal/enforcement'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COORDINATOR_TOKEN, member, offered, openWorld, started, type TestZone, type World } from '../test-support/world.ts'

const NAMES = ['a', 'b', 'c', 'd', 'e'] as const
type Name = (typeof NAMES)[number]

let world: World
let zone: TestZone
const tokens = new Map<string, string>()
const view = new RevocationView()
beforeAll(async () => {
  world = await openWorld('server')
  zone = await world.zone({ applications: NAMES, resources: { bank: ['read', 'write'], shop: ['read'] } })
  for (const name of NAMES) tokens.set(name, zone.token(member(zone.applications, name)))
  view.startLoading().finish({ position: '', entries: [] })
  await world.streams.subscribe('caracal.revocations', await world.streams.tip('caracal.revocations'), {
    onMessage: ({ payload }) => view.apply(JSON.parse(payload) as Revocation),
    onGap: () => {},
  })
})
afterAll(() => world?.close())

const token = (name: Name) => tokens.get(name) ?? ''
const app = (name: Name): Application => member(zone.applications, name)
const bank = (...scopes: string[]) => [{ resource: member(zone.resources, 'bank').id, scopes }]
const session = (name: Name, body: Record<string, unknown> = {}) => {
  world.clock.now += 1
  return started(world, zone, token(name), body)
}
const accept = (name: Name, delegation: Delegation, to: Session) =>
  world.call('POST', zone.path(`/delegations/${delegation.id}/accept`), token(name), { session: to.id })
const revoke = (name: Name, delegation: Delegation) => world.call('POST', zone.path(`/delegations/${delegation.id}/revoke`), token(name))
const read = async (delegation: Delegation): Promise<Delegation> =>
  (await world.call('GET', zone.path(`/delegations/${delegation.id}`), COORDINATOR_TOKEN)).body

/** Offers and accepts, with room for all that may come below. */
async function handOver(from: Session, by: Name, to: Session, toName: Name, body: Record<string, unknown> = {}): Promise<Delegation> {
  world.clock.now += 1
  const offer = await offered(world, zone, token(by), {
    from: from.id,
    toApplication: app(toName).id,
    grants: bank('read', 'write'),
    hops: 9,
    ...body,
  })
  const accepted = await accept(toName, offer, to)
  if (accepted.status !== 200) throw new Error(accepted.text)
  return accepted.body
}

describe('a delegation', () => {
  it('is offered by name and identifier, accepted by one session, handed on narrower, and tells its impact', async () => {
    const [from, to, third] = [await session('a'), await session('b'), await session('c')]
    const grants = [{ resource: member(zone.resources, 'bank').identifier, scopes: ['write', 'read'] }]
    const offer = await offered(world, zone, token('a'), { from: from.id, toApplication: 'b', grants, hops: 1 })
    expect(offer).toMatchObject({ state: 'offered', to: null, hops: 1, grants: bank('read', 'write'), expiresAt: from.expiresAt })
    expect((await accept('a', offer, from)).body.code).toBe('session_not_usable')
    expect((await accept('b', offer, to)).body).toMatchObject({ state: 'active', to: to.id })
    expect((await accept('b', offer, to)).status).toBe(200)
    expect((await accept('b', offer, await session('b'))).body.code).toBe('delegation_not_usable')

    const further = { from: to.id, toApplication: 'c', parent: offer.id }
    const wider = await world.call('POST', zone.path('/delegations'), token('b'), {
      ...further,
      grants: [{ ...bank('read')[0], resource: member(zone.resources, 'shop').id }],
    })
    expect(wider.body).toMatchObject({ code: 'scope_exceeds_parent', scope: 'read' })
    const unknown = await world.call('POST', zone.path('/delegations'), token('b'), { ...further, grants: bank('read'), budget: 5 })
    expect(unknown).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
    const child = await offered(world, zone, token('b'), { ...further, grants: bank('read') })
    expect(child.lineage).toEqual([offer.id, child.id])
    expect((await accept('c', child, third)).status).toBe(200)
    expect(
      (
        await world.call('POST', zone.path('/delegations'), token('c'), {
          from: third.id,
          toApplication: 'd',
          parent: child.id,
          grants: bank('read'),
        })
      ).body,
    ).toMatchObject({ code: 'validation_failed', constraint: 'hops' })

    const impact = (await world.call('GET', zone.path(`/delegations/${offer.id}/impact`), token('a'))).body
    expect(impact).toMatchObject({ complete: true, sessions: [third.id, to.id] })
    expect(impact.delegations.map((one: Delegation) => one.id)).toEqual([child.id, offer.id])
    expect((await revoke('b', offer)).body.state).toBe('revoked')
    expect((await read(child)).state).toBe('revoked')
    expect((await revoke('a', offer)).status).toBe(200)
  })

  it('is not offered from a foreign session, a dead one, through a foreign delegation, or for what is unknown', async () => {
    const [mine, theirs] = [await session('a'), await session('b')]
    const offer = (over: Record<string, unknown>) =>
      world.call('POST', zone.path('/delegations'), token('a'), { from: mine.id, toApplication: 'c', grants: bank('read'), ...over })
    const foreign = await handOver(theirs, 'b', await session('c'), 'c')
    for (const [over, code] of [
      [{ from: theirs.id }, 'session_not_usable'],
      [{ parent: foreign.id }, 'delegation_not_usable'],
      [{ parent: newId('delegation') }, 'delegation_not_usable'],
      [{ toApplication: 'nobody' }, 'validation_failed'],
      [{ toApplication: app('a').id }, 'validation_failed'],
      [{ grants: [{ resource: newId('resource'), scopes: ['read'] }] }, 'invalid_target'],
      [{ expiresAt: mine.expiresAt + 1 }, 'validation_failed'],
    ] as const) {
      expect((await offer(over)).body.code, JSON.stringify(over)).toBe(code)
    }
    await world.call('POST', zone.path(`/sessions/${mine.id}/suspend`), token('a'))
    expect((await offer({})).body.code).toBe('session_suspended')
  })

  it('is not accepted after its end, nor when what it stands on is gone', async () => {
    const from = await session('a')
    const make = () =>
      offered(world, zone, token('a'), { from: from.id, toApplication: 'b', grants: bank('read'), expiresAt: world.clock.now + 1000 })
    const late = await make()
    const to = await session('b')
    world.clock.now += 1000
    expect((await accept('b', late, to)).body.code).toBe('delegation_not_usable')
    const orphan = await make()
    await world.call('POST', zone.path(`/sessions/${from.id}/suspend`), token('a'))
    expect((await accept('b', orphan, to)).body.code).toBe('session_suspended')
    await world.call('POST', zone.path(`/sessions/${from.id}/end`), token('a'))
    expect((await accept('b', orphan, to)).body.code).toBe('delegation_not_usable')
  })
})

describe('[P-053] exactly the branch dies', () => {
  type Node = { readonly name: Name; readonly session: Session; readonly delegation: Delegation | null; readonly above: readonly Node[] }
  const shapes = fc.record({
    parents: fc.array(fc.nat(9), { minLength: 2, maxLength: 6 }),
    victim: fc.nat(9),
    how: fc.constantFrom('revoke', 'end', 'suspend'),
  })

  it('over random forests of delegations: the dead set is the victim and its descendants, in rows and for offline verifiers', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, async ({ parents, victim, how }) => {
        const nodes: Node[] = [{ name: 'a', session: await session('a'), delegation: null, above: [] }]
        for (const at of parents) {
          const parent = nodes[at % nodes.length] as Node
          const name = NAMES[parent.above.length + 1]
          if (name === undefined) continue
          const own = await session(name)
          const parentId = parent.delegation?.id
          const hops = 8 - parent.above.length
          const delegation = await handOver(parent.session, parent.name, own, name, {
            hops,
            ...(parentId === undefined ? {} : { parent: parentId }),
          })
          nodes.push({ name, session: own, delegation, above: [...parent.above, parent] })
        }
        const target = nodes[victim % nodes.length] as Node
        const byRevocation = how === 'revoke' && target.delegation !== null
        const path = byRevocation
          ? `/delegations/${target.delegation?.id}/revoke`
          : `/sessions/${target.session.id}/${how === 'revoke' ? 'end' : how}`
        expect((await world.call('POST', zone.path(path), COORDINATOR_TOKEN)).status).toBe(200)
        const id = byRevocation ? target.delegation?.id : target.session.id
        await expect.poll(() => view.isRevoked([id ?? ''])).toBe(id)
        for (const node of nodes) {
          const dead = node === target || node.above.includes(target)
          const chain = [...node.above, node].flatMap((one) => one.delegation ?? [])
          const fromLineage = node.above.flatMap((one) => one.session.lineage)
          const lineage = joinLineage({
            session: node.session,
            delegation: node.delegation === null ? undefined : { lineage: chain.map((one) => one.id), fromLineage },
          })
          if (!lineage.ok) throw new Error(lineage.reason)
          const claims = { zone: zone.id, client_id: app(node.name).id, sub: app(node.name).id, jti: newId('mandate'), ...lineage.value }
          expect(view.isRevoked(revocableIds(claims as MandateClaims)) !== null, node.name).toBe(dead)
          if (how !== 'suspend' && node.delegation !== null) expect((await read(node.delegation)).state).toBe(dead ? 'revoked' : 'active')
        }
      }),
      { numRuns: 12 },
    )
  }, 120_000)
})

describe('races on real connections', () => {
  it('acceptance, a further offer and revocation of the root end with nothing alive', async () => {
    for (let round = 0; round < 20; round += 1) {
      const [from, to, third] = [await session('a'), await session('b'), await session('c')]
      const root = await handOver(from, 'a', to, 'b')
      const child = await offered(world, zone, token('b'), {
        from: to.id,
        toApplication: 'c',
        parent: root.id,
        grants: bank('read'),
        hops: 3,
      })
      const further = { from: to.id, toApplication: 'd', parent: root.id, grants: bank('read') }
      const answers = await Promise.all([
        accept('c', child, third),
        world.call('POST', zone.path('/delegations'), token('b'), further),
        round % 2 === 0 ? revoke('a', root) : world.call('POST', zone.path(`/sessions/${from.id}/end`), token('a')),
        accept('c', child, await session('c')),
      ])
      expect(answers.map((one) => one.status).filter((status) => status >= 500)).toEqual([])
      for (const one of [root, child, ...(answers[1].status === 201 ? [answers[1].body] : [])])
        expect((await read(one)).state).toBe('revoked')
    }
  })

  it('of two sessions that accept at once exactly one gets it', async () => {
    const from = await session('a')
    const [one, two] = [await session('b'), await session('b')]
    for (let round = 0; round < 10; round += 1) {
      const offer = await offered(world, zone, token('a'), { from: from.id, toApplication: 'b', grants: bank('read') })
      const answers = await Promise.all([accept('b', offer, one), accept('b', offer, two)])
      expect(answers.map((answer) => answer.status).sort()).toEqual([200, 400])
    }
  })
})
