import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, Cluster } from './cluster.ts'
import { startUpstream, type Upstream } from './running-call.ts'

/** Something that works until it is revoked: a mandate, where it is used, and the one call that ends it. */
export type Target = {
  readonly zone: string
  readonly mandate: string
  readonly mandateId: string
  /** Path of the resource at every Gateway, with the slash. */
  readonly path: string
  /** Resolves when the revocation is answered; throws when it is refused. */
  readonly revoke: () => Promise<void>
}

/** A zone with what every kind of revocation needs, once for each round. */
export type Ground = {
  readonly cluster: Cluster
  readonly upstream: Upstream
  readonly zone: string
  readonly agent: Client
  readonly peer: Client
  /** Resource that both may use. */
  readonly resource: string
  /** A mandate for Caracal itself. */
  own(client: Client): Promise<string>
  target(kind: Kind, round: number): Promise<Target>
  /** A new session that delegates to `agent`; resolves with the id of what was offered. */
  offer(): Promise<string>
  close(): Promise<void>
}

const resource = (zone: string, name: string, port: number, provider: string | null) => `
kind: Resource
zone: ${zone}
name: ${name}
identifier: ${identifier(zone, name)}
upstream: http://127.0.0.1:${port}
${provider === null ? '' : `provider: ${provider}`}
egressAllow: [127.0.0.1/32]
maxBodyBytes: 100000000
scopes: ["use"]
---`

const identifier = (zone: string, name: string) => `https://${name}.${zone}.example/`

const application = (zone: string, name: string) => `
kind: Application
zone: ${zone}
name: ${name}
labels: [agents]
---`

const provider = (zone: string, name: string, port: number) => `
kind: Provider
zone: ${zone}
name: ${name}
method: api_key
placement: { in: header, name: X-Api-Key }
hosts: ["127.0.0.1:${port}"]
secret: { fromEnv: KEY }
---`

const policy = (zone: string, name: string, on: readonly string[]) => `
kind: Policy
zone: ${zone}
name: ${name}
rules:
  - { id: use, allow: ["use"], on: ${JSON.stringify(on)}, for: { labels: [agents] } }
---`

function documents(zone: string, rounds: number, port: number): string {
  const each = (make: (round: number) => string) => Array.from({ length: rounds }, (_, round) => make(round)).join('')
  return [
    `kind: Zone\nname: ${zone}\n---`,
    ['agent', 'peer'].map((name) => application(zone, name)).join(''),
    provider(zone, 'key', port),
    resource(zone, 'shared', port, 'key'),
    // What is revoked for good is another one in each round.
    each((round) => application(zone, `revoked-${round}`) + application(zone, `deleted-${round}`)),
    each((round) => resource(zone, `r-revoked-${round}`, port, 'key') + resource(zone, `r-deleted-${round}`, port, null)),
    each((round) => provider(zone, `p-revoked-${round}`, port) + resource(zone, `of-revoked-${round}`, port, `p-revoked-${round}`)),
    each((round) => resource(zone, `ruled-${round}`, port, null)),
    each((round) => policy(zone, `policy-${round}`, [identifier(zone, `ruled-${round}`)])),
    policy(zone, 'usual', ['https://shared*', 'https://r-*', 'https://of-*']),
    each((round) =>
      [
        `\nkind: Zone\nname: ${zone}-${round}\n---`,
        application(`${zone}-${round}`, 'agent'),
        resource(`${zone}-${round}`, 'shared', port, null),
        policy(`${zone}-${round}`, 'usual', ['*']),
      ].join(''),
    ),
  ]
    .join('')
    .replace(/---$/, '')
}

/** Makes the ground; each kind can be revoked `rounds` times. */
export async function openGround(cluster: Cluster, rounds: number, zoneName = 'ground'): Promise<Ground> {
  const upstream = await startUpstream()
  await cluster.apply(documents(zoneName, rounds, upstream.port), { 'env:KEY': 'upstream-key-0123456789abcdef' })
  const find = async (path: string, name: string): Promise<string> => {
    const { body } = await cluster.admin<{ items: { id: string }[] }>('GET', `${path}?name=${name}`)
    const id = body.items[0]?.id
    if (id === undefined) throw new Error(`${path} has no ${name}: ${JSON.stringify(body)}`)
    return id
  }
  const zones = new Map<string, string>()
  for (const { id, name } of (await cluster.admin<{ items: { id: string; name: string }[] }>('GET', '/v1/zones?limit=200')).body.items)
    zones.set(name, id)
  const zone = zones.get(zoneName) ?? ''
  const clientOf = async (name: string, of = zone) => cluster.credential(of, await find(`/v1/zones/${of}/applications`, name))
  const agent = await clientOf('agent')
  const peer = await clientOf('peer')
  const shared = identifier(zoneName, 'shared')

  const mint = async (client: Client, form: Readonly<Record<string, string>>) => {
    let answer = await cluster.token(client, form)
    // Secrets that an STS does not know yet are asked for at a bounded rate; it hears of them by itself a moment later.
    for (let tries = 0; answer.status === 401 && tries < 100; tries += 1) {
      await sleep(50)
      answer = await cluster.token(client, form)
    }
    if (answer.status !== 200) throw new Error(`no mandate: ${JSON.stringify(answer.body)}`)
    return { mandate: answer.body.access_token as string, mandateId: answer.body.mandate_id as string }
  }
  const issuer = `${cluster.sts[0].url}/zones/${zone}`
  const held = new Map<string, Promise<string>>()
  const own = (client: Client) => {
    const known = held.get(client.id) ?? mint(client, { resource: issuer, ttl: '900' }).then(({ mandate }) => mandate)
    held.set(client.id, known)
    return known
  }
  const coordinate = async <T>(client: Client, method: string, path: string, body?: unknown): Promise<T> => {
    const answer = await cluster.coordinate<T>(method, `/v1/zones/${zone}${path}`, await own(client), body)
    if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.body
  }
  const start = (client: Client, parent?: string) =>
    coordinate<{ id: string }>(client, 'POST', '/sessions', { kind: 'task', ttl: 3600, ...(parent === undefined ? {} : { parent }) })
  const administer = async (method: string, path: string, body?: unknown) => {
    const answer = await cluster.admin(method, `/v1/zones/${path}`, body)
    if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
  }
  const revocation = (kind: string, id: string, of = zone) =>
    administer('POST', `${of}/revocations`, { kind, id, reason: 'a test revokes it' })

  const inZone = (name: string, minted: { mandate: string; mandateId: string }, revoke: () => Promise<unknown>): Target => ({
    zone,
    ...minted,
    path: `/r/${name}/`,
    revoke: async () => void (await revoke()),
  })
  const onShared = (minted: { mandate: string; mandateId: string }, revoke: () => Promise<unknown>) => inZone('shared', minted, revoke)
  const delegated = async () => {
    const from = await start(peer)
    const to = await start(agent)
    const grants = [{ resource: shared, scopes: ['use'] }]
    const offer = await coordinate<{ id: string }>(peer, 'POST', '/delegations', { from: from.id, toApplication: 'agent', grants })
    await coordinate(agent, 'POST', `/delegations/${offer.id}/accept`, { session: to.id })
    return { from, offer, minted: await mint(agent, { resource: shared, session: to.id, delegation: offer.id }) }
  }
  const offer = async () => {
    const from = await start(peer)
    const grants = [{ resource: shared, scopes: ['use'] }]
    return (await coordinate<{ id: string }>(peer, 'POST', '/delegations', { from: from.id, toApplication: 'agent', grants })).id
  }
  const entity = async (noun: string, name: string, on: string, end: (id: string) => Promise<void>) => {
    const id = await find(`/v1/zones/${zone}/${noun}`, name)
    return inZone(on, await mint(agent, { resource: identifier(zoneName, on) }), () => end(id))
  }
  const ofZone = async (round: number, end: (id: string) => Promise<void>): Promise<Target> => {
    const name = `${zoneName}-${round}`
    const id = zones.get(name) ?? ''
    const minted = await mint(await clientOf('agent', id), { resource: identifier(name, 'shared') })
    // Names of resources are unique in a zone only: the path of another zone's is chosen by its mandate.
    return { zone: id, ...minted, path: '/r/shared/', revoke: () => end(id) }
  }
  const ofApplication = async (name: string, end: (id: string) => Promise<void>) => {
    const client = await clientOf(name)
    return onShared(await mint(client, { resource: shared }), () => end(client.id))
  }

  const targets: Readonly<Record<Kind, (round: number) => Promise<Target>>> = {
    mandate: async () => {
      const minted = await mint(agent, { resource: shared })
      return onShared(minted, () => revocation('mandate', minted.mandateId))
    },
    'mandate, by its holder': async () => {
      const minted = await mint(agent, { resource: shared })
      return onShared(minted, async () => {
        const basic = Buffer.from(`${agent.id}:${agent.secret}`).toString('base64')
        const body = new URLSearchParams({ token: minted.mandate })
        const answer = await fetch(`${cluster.sts[1].url}/oauth/2/revoke`, {
          method: 'POST',
          headers: { authorization: `Basic ${basic}` },
          body,
        })
        if (answer.status !== 200) throw new Error(`revoke: ${answer.status}`)
      })
    },
    'mandate it was exchanged from': async () => {
      const parent = await mint(peer, { resource: shared })
      const minted = await mint(agent, {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: parent.mandate,
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      })
      return onShared(minted, () => revocation('mandate', parent.mandateId))
    },
    session: async () => {
      const session = await start(agent)
      const minted = await mint(agent, { resource: shared, session: session.id })
      return onShared(minted, () => coordinate(agent, 'POST', `/sessions/${session.id}/end`))
    },
    'session, suspended': async () => {
      const session = await start(agent)
      const minted = await mint(agent, { resource: shared, session: session.id })
      return onShared(minted, () => coordinate(agent, 'POST', `/sessions/${session.id}/suspend`))
    },
    'session above': async () => {
      const root = await start(agent)
      const leaf = await start(agent, (await start(agent, root.id)).id)
      const minted = await mint(agent, { resource: shared, session: leaf.id })
      return onShared(minted, () => revocation('session', root.id))
    },
    delegation: async () => {
      const { offer, minted } = await delegated()
      return onShared(minted, () => coordinate(peer, 'POST', `/delegations/${offer.id}/revoke`))
    },
    'session that delegated': async () => {
      const { from, minted } = await delegated()
      return onShared(minted, () => coordinate(peer, 'POST', `/sessions/${from.id}/end`))
    },
    application: (round) => ofApplication(`revoked-${round}`, (id) => revocation('application', id)),
    'application, deleted': (round) => ofApplication(`deleted-${round}`, (id) => administer('DELETE', `${zone}/applications/${id}`)),
    resource: (round) => entity('resources', `r-revoked-${round}`, `r-revoked-${round}`, (id) => revocation('resource', id)),
    'resource, deleted': (round) =>
      entity('resources', `r-deleted-${round}`, `r-deleted-${round}`, (id) => administer('DELETE', `${zone}/resources/${id}`)),
    provider: (round) => entity('providers', `p-revoked-${round}`, `of-revoked-${round}`, (id) => revocation('provider', id)),
    'policy, deleted': (round) =>
      entity('policies', `policy-${round}`, `ruled-${round}`, (id) => administer('DELETE', `${zone}/policies/${id}`)),
    zone: (round) => ofZone(round, (id) => (round % 2 === 0 ? revocation('zone', id, id) : administer('DELETE', id))),
  }
  return {
    cluster,
    upstream,
    zone,
    agent,
    peer,
    resource: shared,
    own,
    offer,
    target: (kind, round) => targets[kind](round),
    close: () => upstream.stop(),
  }
}

/** Every way in which authority is taken away. */
export const KINDS = [
  'mandate',
  'mandate, by its holder',
  'mandate it was exchanged from',
  'session',
  'session, suspended',
  'session above',
  'delegation',
  'session that delegated',
  'application',
  'application, deleted',
  'resource',
  'resource, deleted',
  'provider',
  'policy, deleted',
  'zone',
] as const

export type Kind = (typeof KINDS)[number]
