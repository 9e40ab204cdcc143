import { type Delegation, newId, type Session } from '@caracal/core'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { createAdminToken, findUsableAdminToken, listAdminTokens, revokeAdminToken } from './admin-tokens.ts'
import { describeOnBoth } from './both-databases.ts'
import { isForeignKeyViolation } from './database-error.ts'
import {
  acceptDelegation,
  findDelegations,
  insertDelegation,
  listDelegations,
  revokeDelegationSubtree,
  revokeDelegationsOfSessions,
} from './delegations.ts'
import { abandonReceipt, answerReceipt, claimReceipt, purgeReceipts } from './idempotency.ts'
import { enqueue } from './outbox.ts'
import { findRevocation, lift, listRevocations, REVOCATION_OVERLAP, revocationsSince, revoke } from './revocations.ts'
import { established, NOW, sampleApplication, sampleSession, sampleZone } from './sample-zone.ts'
import {
  dueSessions,
  endSubtree,
  findSession,
  findSessions,
  listSessions,
  lockLineage,
  renewLease,
  resumeSubtree,
  suspendSubtree,
  takeLease,
} from './sessions.ts'
import { countLiveByApplication, insertSession } from './sessions-together.ts'

describeOnBoth('authority', (database) => {
  const db = () => database().query

  /** root ─ child ─ leaf, and root ─ sibling. */
  async function family() {
    const zone = await sampleZone(db())
    const application = await sampleApplication(db(), zone)
    const root = await sampleSession(db(), zone, application.id)
    const child = await sampleSession(db(), zone, application.id, root)
    const leaf = await sampleSession(db(), zone, application.id, child)
    const sibling = await sampleSession(db(), zone, application.id, root)
    const names = new Map([root, child, leaf, sibling].map((session, i) => [session.id, ['root', 'child', 'leaf', 'sibling'][i]]))
    const named = (sessions: readonly Session[]) => sessions.map(({ id }) => names.get(id)).sort()
    const states = async () =>
      Object.fromEntries((await findSessions(db(), zone.id, [...names.keys()])).map((s) => [names.get(s.id), s.state]))
    return { zone, application, root, child, leaf, sibling, named, states }
  }

  test('a session comes back as it was written; its lineage can be locked, root first', async () => {
    const { zone, root, child, leaf } = await family()
    expect(await findSession(db(), zone.id, leaf.id)).toEqual(leaf)
    expect(await database().transaction((tx) => lockLineage(tx, zone.id, leaf.id))).toEqual([root, child, leaf])
    expect(await lockLineage(db(), (await sampleZone(db())).id, leaf.id)).toEqual([])
  })

  test('suspending takes the subtree; resuming leaves what is suspended for another reason', async () => {
    const { zone, root, child, leaf, named, states } = await family()
    const all = { root: 'suspended', child: 'suspended', leaf: 'suspended', sibling: 'suspended' }
    expect(named(await suspendSubtree(db(), zone.id, child.id, NOW))).toEqual(['child', 'leaf'])
    expect(named(await suspendSubtree(db(), zone.id, root.id, NOW))).toEqual(['root', 'sibling'])
    expect(await states()).toEqual(all)
    expect(named(await resumeSubtree(db(), zone.id, root.id, NOW))).toEqual(['root', 'sibling'])
    expect(await states()).toEqual({ ...all, root: 'active', sibling: 'active' })
    expect(await resumeSubtree(db(), zone.id, leaf.id, NOW)).toEqual([])
    expect(named(await resumeSubtree(db(), zone.id, child.id, NOW))).toEqual(['child', 'leaf'])
    expect(named(await suspendSubtree(db(), zone.id, root.id, NOW))).toEqual(['child', 'leaf', 'root', 'sibling'])
    expect(named(await suspendSubtree(db(), zone.id, leaf.id, NOW))).toEqual(['leaf'])
    expect(await resumeSubtree(db(), zone.id, child.id, NOW)).toEqual([])
    expect(named(await resumeSubtree(db(), zone.id, root.id, NOW))).toEqual(['child', 'root', 'sibling'])
    expect((await states()).leaf).toBe('suspended')
  })

  test('ending takes the subtree for good, also a child that is started at the same time', async () => {
    const { zone, application, root, child, named, states } = await family()
    expect(await endSubtree(db(), (await sampleZone(db())).id, child.id, NOW)).toEqual([])
    expect(named(await endSubtree(db(), zone.id, child.id, NOW))).toEqual(['child', 'leaf'])
    expect(await endSubtree(db(), zone.id, child.id, NOW)).toEqual([])
    expect(await states()).toEqual({ root: 'active', child: 'ended', leaf: 'ended', sibling: 'active' })
    expect(await resumeSubtree(db(), zone.id, child.id, NOW)).toEqual([])
    const start = database().transaction(async (tx) => {
      const lineage = await lockLineage(tx, zone.id, root.id)
      await sql`select pg_sleep(0.05)`.execute(tx)
      return lineage.every(({ state }) => state === 'active') ? await sampleSession(tx, zone, application.id, root) : undefined
    })
    const end = database().transaction((tx) => endSubtree(tx, zone.id, root.id, NOW))
    const started = await start
    await end
    if (started) expect((await findSession(db(), zone.id, started.id))?.state).toBe('ended')
  })

  test('a lease is renewed only by the generation that holds it, in time', async () => {
    const zone = await sampleZone(db())
    const application = await sampleApplication(db(), zone)
    const id = newId('session')
    await insertSession(
      db(),
      {
        id,
        zone: zone.id,
        application: application.id,
        kind: 'service',
        parent: null,
        lineage: [id],
        labels: [],
        subject: null,
        expiresAt: NOW + 10_000,
        lease: { generation: 1, expiresAt: NOW + 1000 },
      },
      NOW,
    )
    const lease = { zone: zone.id, session: id, expiresAt: NOW + 2000 }
    expect(established(await renewLease(db(), { ...lease, generation: 1 }, NOW + 500)).lease).toEqual({
      generation: 1,
      expiresAt: NOW + 2000,
    })
    expect(established(await takeLease(db(), lease, NOW + 600)).lease?.generation).toBe(2)
    expect(await renewLease(db(), { ...lease, generation: 1 }, NOW + 700)).toMatchObject({ reason: 'lease_lost' })
    expect(await renewLease(db(), { ...lease, generation: 2 }, NOW + 2000)).toMatchObject({ reason: 'lease_lost' })
    expect((await dueSessions(db(), NOW + 2000, 100)).map((s) => s.id)).toContain(id)
    expect((await dueSessions(db(), NOW + 1999, 100)).map((s) => s.id)).not.toContain(id)
    expect(await takeLease(db(), lease, NOW + 10_000)).toMatchObject({ reason: 'session_not_usable' })
    expect(await renewLease(db(), { ...lease, zone: (await sampleZone(db())).id, generation: 2 }, NOW)).toMatchObject({
      reason: 'session_not_usable',
    })
  })

  test('live sessions are counted per zone and application; lists filter and page', async () => {
    const { zone, root, child, leaf, sibling } = await family()
    const other = await sampleApplication(db(), zone)
    await sampleSession(db(), zone, other.id)
    await endSubtree(db(), zone.id, leaf.id, NOW)
    expect([...(await countLiveByApplication(db(), zone.id, NOW)).values()].sort()).toEqual([1, 3])
    expect((await countLiveByApplication(db(), zone.id, root.expiresAt)).size).toBe(0)
    const ids = async (filter: Parameters<typeof listSessions>[2]) =>
      (await listSessions(db(), zone.id, filter, { limit: 10 })).items.map(({ id }) => id).sort()
    expect(await ids({ under: child.id })).toEqual([child.id, leaf.id].sort())
    expect(await ids({ parent: root.id })).toEqual([child.id, sibling.id].sort())
    expect(await ids({ state: 'ended' })).toEqual([leaf.id])
    expect(await ids({ application: other.id })).toHaveLength(1)
  })

  test('[P-138] a session cannot have a parent or an application of another zone', async () => {
    const [one, two] = [await family(), await family()]
    const foreign = [sampleSession(db(), one.zone, two.application.id), sampleSession(db(), one.zone, one.application.id, two.root)].map(
      (attempt) => attempt.catch((error: unknown) => isForeignKeyViolation(error)),
    )
    expect(await Promise.all(foreign)).toEqual([true, true])
  })

  async function delegated() {
    const f = await family()
    const to = await sampleApplication(db(), f.zone)
    const receiver = await sampleSession(db(), f.zone, to.id)
    const offer = (from: Session, parent?: Delegation) => {
      const id = newId('delegation')
      return insertDelegation(
        db(),
        {
          id,
          zone: f.zone.id,
          from: from.id,
          fromApplication: from.application,
          fromLineage: from.lineage,
          toApplication: to.id,
          to: null,
          parent: parent?.id ?? null,
          lineage: [...(parent?.lineage ?? []), id],
          grants: [{ resource: newId('resource'), scopes: ['a', 'b'] }],
          hops: 3,
          state: 'offered',
          expiresAt: NOW + 1000,
        },
        NOW,
      )
    }
    return { ...f, to, receiver, offer }
  }

  test('an offer is accepted once, in time, and revoking takes everything below it', async () => {
    const { zone, root, receiver, offer } = await delegated()
    const first = await offer(root)
    expect(await findDelegations(db(), zone.id, [first.id])).toEqual([first])
    const acceptance = { zone: zone.id, id: first.id, to: receiver.id }
    expect(await acceptDelegation(db(), acceptance, NOW + 1000)).toMatchObject({ reason: 'delegation_not_usable' })
    const race = await Promise.all([1, 2, 3].map(() => acceptDelegation(db(), acceptance, NOW)))
    expect(race.filter(({ ok }) => ok)).toHaveLength(1)
    const second = await offer(receiver, first)
    const third = await offer(receiver, second)
    expect((await listDelegations(db(), zone.id, { under: second.id }, { limit: 9 })).items.map(({ id }) => id).sort()).toEqual(
      [second.id, third.id].sort(),
    )
    expect((await revokeDelegationSubtree(db(), zone.id, second.id, NOW)).map(({ id }) => id)).toEqual([second.id, third.id])
    expect((await revokeDelegationSubtree(db(), zone.id, first.id, NOW)).map(({ id }) => id)).toEqual([first.id])
    expect(await revokeDelegationSubtree(db(), zone.id, first.id, NOW)).toEqual([])
    expect(await acceptDelegation(db(), { ...acceptance, id: third.id }, NOW)).toMatchObject({ reason: 'delegation_not_usable' })
  })

  test('the end of a session revokes what was handed out below it, what it held, and what came of that', async () => {
    const { zone, root, child, leaf, sibling, receiver, offer } = await delegated()
    const handedOut = await offer(leaf)
    const untouched = await offer(sibling)
    const held = await offer(root)
    established(await acceptDelegation(db(), { zone: zone.id, id: held.id, to: receiver.id }, NOW))
    const passedOn = await offer(receiver, held)
    const ended = await endSubtree(db(), zone.id, child.id, NOW)
    const byLeaf = await revokeDelegationsOfSessions(
      db(),
      zone.id,
      ended.map(({ id }) => id),
      NOW,
    )
    expect(byLeaf.map(({ id }) => id)).toEqual([handedOut.id])
    const byReceiver = await revokeDelegationsOfSessions(db(), zone.id, [receiver.id], NOW)
    expect(byReceiver.map(({ id }) => id)).toEqual([held.id, passedOn.id])
    expect(await revokeDelegationsOfSessions(db(), zone.id, [], NOW)).toEqual([])
    expect((await findDelegations(db(), zone.id, [untouched.id]))[0]?.state).toBe('offered')
  })

  test('revoking twice is one revocation; a lift shows as a lift; a later revocation stands again', async () => {
    const zone = await sampleZone(db())
    const target = newId('session')
    const what = { zone: zone.id, kind: 'session' as const, target, by: 'me' }
    const say = (now: number) => revoke(db(), { id: newId('revocation'), ...what, reason: 'suspended' }, now)
    const both = await Promise.all([say(NOW), say(NOW)])
    expect(both.filter(({ created }) => created)).toHaveLength(1)
    expect(both[0].record).toEqual(both[1].record)
    const since = (from: number) => revocationsSince(db(), from, zone.id)
    expect(await since(NOW)).toEqual([{ v: 1, op: 'revoke', kind: 'session', id: target, zone: zone.id, at: NOW, reason: 'suspended' }])
    expect(await since(NOW + REVOCATION_OVERLAP + 1)).toEqual([])
    expect(await lift(db(), what, NOW + 500_000)).toMatchObject({ lifted: { at: NOW + 500_000, by: 'me' } })
    expect(await lift(db(), what, NOW)).toBeUndefined()
    expect(await since(NOW + 400_000)).toMatchObject([{ op: 'lift', id: target, at: NOW + 500_000 }])
    expect(await findRevocation(db(), zone.id, 'session', target)).toBeUndefined()
    expect((await say(NOW + 600_000)).created).toBe(true)
    expect((await since(0)).map(({ op }) => op)).toEqual(['lift', 'revoke'])
    expect((await listRevocations(db(), zone.id, { limit: 1 })).next).not.toBeNull()
  })

  test('an admin token works until it expires or is revoked', async () => {
    const id = newId('token')
    const fields = { id, name: `token ${id}`, roles: ['viewer', 'approver'] as const, zone: null, expiresAt: NOW + 1000 }
    const token = established(await createAdminToken(db(), { ...fields, digest: `digest ${id}`, createdBy: 'me' }, NOW))
    expect(token).toEqual({ ...fields, createdAt: NOW })
    expect(await findUsableAdminToken(db(), `digest ${id}`, NOW + 999)).toEqual(token)
    expect(await findUsableAdminToken(db(), `digest ${id}`, NOW + 1000)).toBeUndefined()
    expect((await listAdminTokens(db(), { limit: 100 })).items).toContainEqual(token)
    expect(await revokeAdminToken(db(), id, NOW)).toBe(true)
    expect(await revokeAdminToken(db(), id, NOW)).toBe(false)
    expect(await findUsableAdminToken(db(), `digest ${id}`, NOW)).toBeUndefined()
  })

  test('an idempotency key has one winner, replays its answer, and is free again when abandoned or run out', async () => {
    const key = { principal: newId('token'), key: 'k' }
    const claim = (sha: string, now = NOW) => claimReceipt(db(), key, sha, now)
    const race = await Promise.all([claim('a'), claim('a'), claim('a')])
    expect(race.map(({ state }) => state).sort()).toEqual(['claimed', 'in_flight', 'in_flight'])
    await abandonReceipt(db(), key)
    expect(await claim('a')).toEqual({ state: 'claimed' })
    expect(await claim('a', NOW + 60_000)).toEqual({ state: 'claimed' })
    const answer = { status: 201, headers: { etag: '"1"' }, body: '{"ü":1}' }
    await database().transaction((tx) => answerReceipt(tx, key, answer, NOW))
    await abandonReceipt(db(), key)
    expect(await claim('a')).toEqual({ state: 'answered', answer })
    expect(await claim('b')).toEqual({ state: 'other_request' })
    expect(await purgeReceipts(db(), NOW + 23 * 3600_000)).toBe(0)
    expect(await claim('b', NOW + 24 * 3600_000)).toEqual({ state: 'claimed' })
    expect(await purgeReceipts(db(), NOW + 48 * 3600_000)).toBe(1)
  })

  test('who wrote to the outbox tells the dispatcher of its process once the transaction commits, and never of one that does not', async () => {
    let woken = 0
    const stop = database().onOutboxWritten(() => {
      woken += 1
    })
    const message = { stream: 'caracal.config', aggregate: 'a', payload: '{"ü":1}' } as const
    await database()
      .transaction(async (tx) => {
        await enqueue(tx, message)
        throw new Error('undo')
      })
      .catch(() => {})
    await database().transaction((tx) => enqueue(tx, [message, { ...message, aggregate: 'b' }]))
    await enqueue(db(), [])
    expect(woken).toBe(1)
    const rows = await db().selectFrom('outbox').select(['stream', 'aggregate', 'payload', 'attempts']).orderBy('id').execute()
    expect(rows).toEqual([
      { ...message, attempts: 0 },
      { ...message, aggregate: 'b', attempts: 0 },
    ])
    stop()
    await enqueue(db(), { ...message, aggregate: 'c' })
    expect(woken).toBe(1)
  })
})
