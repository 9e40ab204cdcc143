import { MAX_LINEAGE, type MandateClaims, newId, type Revocation, revocableIds, type Session, type SessionId } from '@caracal/core'
import { RevocationView } from '@caracal/enforcement'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { member, openWorld, started, type TestZone, type World } from '../test-support/world.ts'

let world: World
let zone: TestZone
let token: string
const heard: Revocation[] = []
let view: RevocationView
beforeAll(async () => {
  world = await openWorld('server')
  zone = await world.zone({ applications: ['agent'] })
  token = zone.token(member(zone.applications, 'agent'))
  view = new RevocationView()
  view.startLoading().finish({ position: '', entries: [] })
  await world.streams.subscribe('caracal.revocations', await world.streams.tip('caracal.revocations'), {
    onMessage: ({ payload }) => {
      const revocation: Revocation = JSON.parse(payload)
      heard.push(revocation)
      view.apply(revocation)
    },
    onGap: () => {},
  })
})
afterAll(() => world?.close())

type Act = 'suspend' | 'resume' | 'end'
const act = (id: SessionId, name: Act) => world.call('POST', zone.path(`/sessions/${id}/${name}`), token)
const read = async (id: SessionId): Promise<Session & { standing: string }> =>
  (await world.call('GET', zone.path(`/sessions/${id}`), token)).body
/** Every message that was written before has been heard. */
const published = () => expect.poll(async () => (await world.database.query.selectFrom('outbox').select('id').execute()).length).toBe(0)

/** A tree: `shape[i]` is the index of the parent of node i + 1. */
async function grow(shape: readonly number[]): Promise<readonly Session[]> {
  const nodes = [await started(world, zone, token)]
  for (const [index, parent] of shape.entries()) {
    world.clock.now += 1
    nodes.push(await started(world, zone, token, { parent: nodes[parent % (index + 1)]?.id }))
  }
  return nodes
}

/** Ids that a mandate of the session carries. */
const carried = (session: Session): readonly string[] =>
  revocableIds({
    zone: zone.id,
    client_id: session.application,
    sub: session.application,
    jti: newId('mandate'),
    ses: session.lineage,
  } as MandateClaims)

describe('subtrees', () => {
  const shape = fc.array(fc.nat(8), { minLength: 1, maxLength: 8 })
  const acts = fc.array(fc.tuple(fc.nat(8), fc.constantFrom<Act>('suspend', 'resume', 'suspend', 'resume', 'end')), { maxLength: 10 })

  it('[P-041] [P-052] [P-053] any order of acts on any tree leaves exactly the branches dead that a model says, in answers and offline', async () => {
    await fc.assert(
      fc.asyncProperty(shape, acts, async (parents, steps) => {
        const nodes = (await grow(parents)).filter((node) => node.lineage.length <= MAX_LINEAGE)
        const held = new Set<string>()
        const ended = new Set<string>()
        const over = (node: Session) => node.lineage.some((id) => ended.has(id))
        const asleep = (node: Session) => node.lineage.some((id) => held.has(id))
        for (const [at, name] of steps) {
          const node = nodes[at % nodes.length]
          if (node === undefined) continue
          const before = heard.length
          const answered = await act(node.id, name)
          const underSuspended = node.lineage.slice(0, -1).some((id) => held.has(id))
          const refused = name === 'end' ? false : over(node) || (name === 'resume' && underSuspended)
          expect(answered.status, `${name} ${JSON.stringify(answered.body)}`).toBe(refused ? 400 : 200)
          if (refused) continue
          const changes = name === 'end' ? !over(node) : name === 'suspend' ? !held.has(node.id) : held.has(node.id)
          if (name === 'end') ended.add(node.id)
          else if (name === 'suspend') held.add(node.id)
          else held.delete(node.id)
          await published()
          if (!changes) continue
          await expect.poll(() => heard.length).toBeGreaterThan(before)
          expect(heard.at(-1)).toMatchObject({ kind: 'session', id: node.id, zone: zone.id, op: name === 'resume' ? 'lift' : 'revoke' })
        }
        for (const node of nodes) {
          const expected = over(node) ? 'ended' : asleep(node) ? 'suspended' : 'active'
          expect((await read(node.id)).standing).toBe(expected)
          expect(view.isRevoked(carried(node)) === null, node.id).toBe(expected === 'active')
        }
      }),
      { numRuns: 12 },
    )
  }, 120_000)

  it('nothing starts under what is suspended, ended or over, and the end of a child is clamped', async () => {
    const parent = await started(world, zone, token, { ttl: 100 })
    const below = { kind: 'task', ttl: 50, parent: parent.id }
    const start = () => world.call('POST', zone.path('/sessions'), token, below)
    expect((await start()).body.expiresAt).toBe(world.clock.now + 50_000)
    await act(parent.id, 'suspend')
    expect((await start()).body.code).toBe('session_suspended')
    expect((await read(parent.id)).expiresAt).toBe(parent.expiresAt)
    await act(parent.id, 'resume')
    world.clock.now += 100_000
    expect((await start()).body.code).toBe('lineage_expired')
    expect((await act(parent.id, 'resume')).body.code).toBe('session_not_usable')
    expect((await read(parent.id)).standing).toBe('ended')
    await act(parent.id, 'end')
    expect((await start()).body.code).toBe('session_not_usable')
  })

  it('each act leaves one event in the outbox’s work stream and says who did it', async () => {
    const events: { type: string; target?: { id: string } }[] = []
    const work = await world.streams.consume('caracal.audit.events', {
      group: 'test',
      consumer: 'test',
      batch: 500,
      handle: async (messages) => {
        // A line of who made them, then a line for each event.
        for (const { payload } of messages) for (const line of payload.split('\n').slice(1)) if (line !== '') events.push(JSON.parse(line))
        return messages.map(() => 'done' as const)
      },
    })
    const session = await started(world, zone, token)
    for (const name of ['suspend', 'resume', 'end', 'end'] as const) await act(session.id, name)
    const types = () =>
      events
        .filter((event) => event.target?.id === session.id)
        .map((event) => {
          expect(event).toMatchObject({ service: 'coordinator', zone: zone.id, actor: { application: session.application } })
          return event.type
        })
    await expect.poll(types).toEqual(['session.started', 'session.suspended', 'session.resumed', 'session.ended'])
    await work.stop()
  })
})

describe('races on real connections', () => {
  it('[P-041] resume of a child against suspension of its ancestor never leaves the child awake', async () => {
    for (let round = 0; round < 25; round += 1) {
      const [root, middle, leaf] = await grow([0, 1])
      if (root === undefined || middle === undefined || leaf === undefined) throw new Error('no tree')
      await act(leaf.id, 'suspend')
      await Promise.all([act(root.id, 'suspend'), act(leaf.id, 'resume'), act(middle.id, 'suspend')])
      for (const node of [root, middle, leaf]) expect((await read(node.id)).state).toBe('suspended')
    }
  })

  it('a child that starts while an ancestor ends is refused or ends with it', async () => {
    for (let round = 0; round < 25; round += 1) {
      const [root, child] = await grow([0])
      if (root === undefined || child === undefined) throw new Error('no tree')
      const start = () => world.call('POST', zone.path('/sessions'), token, { kind: 'task', ttl: 60, parent: child.id })
      const answers = await Promise.all([start(), start(), act(root.id, 'end'), start(), act(child.id, 'suspend')])
      expect(answers.map((one) => one.status).filter((status) => status >= 500)).toEqual([])
      for (const one of answers) if (one.status === 201) expect((await read(one.body.id)).state).toBe('ended')
    }
  })
})
