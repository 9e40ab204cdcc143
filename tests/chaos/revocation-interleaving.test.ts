import { freshDatabaseUrl, redisUrl } from '@caracal/harness'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Client, type Cluster, startCluster } from '../revocation/cluster.ts'
import { type Ground, openGround } from '../revocation/ground.ts'
import { callOnce } from '../revocation/running-call.ts'

/** Mints, children, delegations and revocations in all. */
const OPERATIONS = 10_000
/** Clients at once. */
const WORKERS = 16
/** A revocation that was answered is known everywhere after this, many times over. Milliseconds. */
const KNOWN_AFTER = 5_000

let cluster: Cluster
let ground: Ground

beforeAll(async () => {
  cluster = await startCluster({ databaseUrl: await freshDatabaseUrl(), redisUrl: redisUrl() })
  ground = await openGround(cluster, 1)
}, 180_000)
afterAll(async () => {
  await cluster?.stop()
  await ground?.close()
})

type Node = { readonly id: string; readonly lineage: readonly string[]; readonly client: Client }
type Minted = { readonly mandate: string; readonly ids: readonly string[]; readonly at: number }

/** Every id that a mandate names: what it says itself, and what its client knows it was minted with. */
function idsIn(mandate: string): readonly string[] {
  const claims = JSON.parse(Buffer.from(mandate.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>
  return [
    claims.jti,
    claims.client_id,
    ...['ses', 'dlg', 'mnd'].flatMap((name) => (claims[name] as string[] | undefined) ?? []),
  ] as string[]
}

/** The same numbers in [0, 1) for the same seed (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed * 0x9e3779b9
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

test('[P-038] [P-053] 10,000 mints, children, delegations and revocations at once: nothing works whose ancestor was revoked, everything else does', async () => {
  const { zone, agent, peer, resource } = ground
  const revoked = new Set<string>()
  const minted: Minted[] = []
  const done = { mint: 0, exchange: 0, child: 0, delegation: 0, revocation: 0, refused: 0 }
  let operations = 0
  const tokens = { agent: await ground.own(agent), peer: await ground.own(peer) }
  const coordinate = async (client: Client, path: string, body?: unknown) => {
    const answer = await cluster.coordinate<{ id: string }>(
      'POST',
      `/v1/zones/${zone}${path}`,
      client === agent ? tokens.agent : tokens.peer,
      body,
    )
    if (answer.status >= 500 || answer.status === 401) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    if (answer.status >= 300) done.refused += 1
    return answer
  }

  /** One tree after the other: grown, used and cut by several at once. */
  const grow = async (worker: number) => {
    const next = numbers(worker)
    const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(next() * list.length)]
    const replica = () => (pick([0, 1] as const) ?? 0) as 0 | 1
    const start = async (client: Client, parent?: Node): Promise<Node | undefined> => {
      const body = { kind: 'task', ttl: 3600, ...(parent === undefined ? {} : { parent: parent.id }) }
      const { status, body: made } = await coordinate(client, '/sessions', body)
      done.child += 1
      return status === 201 ? { id: made.id, lineage: [...(parent?.lineage ?? []), made.id], client } : undefined
    }
    const mint = async (form: Readonly<Record<string, string>>, client: Client, ids: readonly string[]) => {
      const { status, body } = await cluster.token(client, { ttl: '900', ...form }, replica())
      if (status >= 500) throw new Error(JSON.stringify(body))
      if (status !== 200) {
        done.refused += 1
        return
      }
      const mandate = body.access_token as string
      const named = idsIn(mandate)
      // Whatever it stands on is in it, so that the one id that is published reaches it.
      expect(named).toEqual(expect.arrayContaining([...ids]))
      minted.push({ mandate, ids: named, at: performance.now() })
    }
    while (operations < OPERATIONS) {
      const root = await start(agent)
      if (root === undefined) throw new Error('no session')
      const nodes: Node[] = [root]
      const handed: { id: string; under: Node; holder: Node }[] = []
      const step = async (): Promise<void> => {
        operations += 1
        const node = pick(nodes) as Node
        switch (pick(['mint', 'mint', 'child', 'delegation', 'use', 'exchange', 'end', 'revoke'] as const)) {
          case 'mint':
            done.mint += 1
            return mint({ resource, session: node.id }, node.client, node.lineage)
          case 'child': {
            const child = await start(node.client, node)
            if (child !== undefined) nodes.push(child)
            return
          }
          case 'delegation': {
            const to = node.client === agent ? peer : agent
            done.delegation += 1
            const grants = [{ resource, scopes: ['use'] }]
            const toApplication = to === agent ? 'agent' : 'peer'
            const offer = await coordinate(node.client, '/delegations', { from: node.id, toApplication, grants })
            if (offer.status !== 201) return
            const holder = await start(to)
            if (holder === undefined) return
            const accepted = await coordinate(to, `/delegations/${offer.body.id}/accept`, { session: holder.id })
            if (accepted.status === 200) handed.push({ id: offer.body.id, under: node, holder })
            return
          }
          case 'use': {
            const one = pick(handed)
            if (one === undefined) return
            done.mint += 1
            const form = { resource, session: one.holder.id, delegation: one.id }
            return mint(form, one.holder.client, [one.id, ...one.under.lineage, ...one.holder.lineage])
          }
          case 'exchange': {
            const parent = pick(minted.slice(-50))
            if (parent === undefined) return
            done.exchange += 1
            const subject = { subject_token: parent.mandate, subject_token_type: 'urn:ietf:params:oauth:token-type:access_token' }
            return mint(
              { grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', ...subject },
              pick([agent, peer]) ?? agent,
              parent.ids.filter((id) => !id.startsWith('app_')),
            )
          }
          case 'end': {
            if (nodes.length < 3) return
            done.revocation += 1
            const ended = await coordinate(node.client, `/sessions/${node.id}/end`)
            if (ended.status === 200) revoked.add(node.id)
            return
          }
          case 'revoke': {
            const one = pick(handed)
            if (one === undefined) return
            done.revocation += 1
            const ended = await coordinate(one.under.client, `/delegations/${one.id}/revoke`)
            if (ended.status === 200) revoked.add(one.id)
            return
          }
        }
      }
      // Four hands on one tree: they meet.
      await Promise.all(
        Array.from({ length: 4 }, async () => {
          for (let round = 0; round < 12 && operations < OPERATIONS; round += 1) await step()
        }),
      )
    }
  }

  const began = performance.now()
  await Promise.all(Array.from({ length: WORKERS / 4 }, (_, worker) => grow(worker + 1)))
  const took = (performance.now() - began) / 1000
  await new Promise((resolve) => setTimeout(resolve, KNOWN_AFTER))

  // Every mandate whose ancestor was revoked, at one Gateway or the other; of the rest a part.
  const dead = minted.filter(({ ids }) => ids.some((id) => revoked.has(id)))
  const alive = minted.filter(({ ids }) => !ids.some((id) => revoked.has(id)))
  const survivors: string[] = []
  const lost: string[] = []
  const check = async (list: readonly Minted[], wanted: 'refused' | 'works') => {
    const queue = [...list]
    await Promise.all(
      Array.from({ length: WORKERS }, async (_, at) => {
        for (let one = queue.pop(); one !== undefined; one = queue.pop()) {
          const url = cluster.gateways[at % 2 === 0 ? 0 : 1].url
          const { status, code } = await callOnce(url, '/r/shared/', one.mandate)
          if (wanted === 'refused' && !(status === 401 && code === 'token_revoked'))
            survivors.push(`${status} ${code} ${one.ids.join(' ')}`)
          if (wanted === 'works' && status !== 200) lost.push(`${status} ${code} ${one.ids.join(' ')}`)
        }
      }),
    )
  }
  await check(dead, 'refused')
  // Those that are not about to expire.
  await check(alive.filter(({ at }) => performance.now() - at < 600_000).slice(0, 1_000), 'works')
  const counts = { operations, seconds: Math.round(took), ...done, dead: dead.length, alive: alive.length, survivors: survivors.length }
  process.stdout.write(`${JSON.stringify(counts)}\n`)
  expect(survivors).toEqual([])
  expect(lost).toEqual([])
  expect(dead.length).toBeGreaterThan(100)
  expect(alive.length).toBeGreaterThan(100)

  // Nothing that stands is below something that ended.
  const { body } = await cluster.admin<{ items: { id: string; lineage: string[]; state: string }[] }>(
    'GET',
    `/v1/zones/${zone}/sessions?limit=500`,
  )
  for (const session of body.items) if (session.lineage.some((id) => revoked.has(id))) expect(session.state).toBe('ended')
}, 900_000)
