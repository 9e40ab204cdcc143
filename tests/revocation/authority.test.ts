import { randomBytes } from 'node:crypto'
import { coordinatorConfiguration, startCoordinator } from '@caracal/coordinator'
import type { Application, Resource, Zone } from '@caracal/core'
import { freshDatabaseUrl } from '@caracal/harness'
import { createLogger, type RunningService } from '@caracal/service'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openWorld, type World } from '../../apps/sts/src/test-support/world.ts'

const hex = () => randomBytes(32).toString('hex')
const SCOPES = ['read', 'write', 'pay', 'admin']

let world: World
let coordinator: RunningService
let zone: Zone
let resources: Resource[]
let owner: Application & { readonly secret: string }
let helper: Application & { readonly secret: string }
let third: Application & { readonly secret: string }

beforeAll(async () => {
  const keys = { STREAMS_HMAC_KEY: hex(), AUDIT_HMAC_KEY: hex() }
  const databaseUrl = await freshDatabaseUrl()
  world = await openWorld({ environment: keys, databaseUrl })
  zone = await world.zone()
  owner = await world.application(zone.id, { name: 'owner', labels: ['wide'] })
  helper = await world.application(zone.id, { name: 'helper', labels: ['wide', 'helps'] })
  third = await world.application(zone.id, { name: 'third', labels: ['helps'] })
  resources = [await world.resource(zone.id, { scopes: SCOPES }), await world.resource(zone.id, { scopes: ['read', 'write'] })]
  const config = coordinatorConfiguration.parse({
    CARACAL_MODE: 'dev',
    HOST: '127.0.0.1',
    PORT: '0',
    METRICS_PORT: '0',
    LOG_LEVEL: 'silent',
    STREAMS_DRIVER: 'postgres',
    ISSUER_URL: 'http://127.0.0.1:8080',
    COORDINATOR_TOKEN: `operator.${randomBytes(24).toString('base64url')}`,
    ...keys,
  })
  const { database, streams } = world
  coordinator = await startCoordinator(config, { database, streams, logger: createLogger({ name: 'coordinator', level: 'silent' }) })
}, 60_000)
afterAll(async () => {
  await coordinator?.stop()
  await world?.close()
})

type Shown = { readonly scope: string; readonly effect: 'allow' | 'hold' }
type Way = {
  readonly delegation: string | null
  readonly resources: readonly { readonly identifier: string; readonly scopes: readonly Shown[] }[]
}

async function call<T>(by: typeof owner, method: string, path: string, body?: unknown): Promise<T> {
  const issuer = `http://127.0.0.1:8080/zones/${zone.id}`
  const { access_token } = await world.ask(by, { resource: issuer })
  const answer = await fetch(`${coordinator.address.url}/v1/zones/${zone.id}${path}`, {
    method,
    headers: { authorization: `Bearer ${access_token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`)
  return JSON.parse(text) as T
}

const start = (by: typeof owner, parent?: string) =>
  call<{ id: string }>(by, 'POST', '/sessions', { kind: 'task', ttl: 600, ...(parent === undefined ? {} : { parent }) })

/** A session with two generations below it, made with nothing but the parent; the last of them. */
async function grandchild(by: typeof owner): Promise<{ readonly root: string; readonly leaf: string }> {
  const root = await start(by)
  return { root: root.id, leaf: (await start(by, (await start(by, root.id)).id)).id }
}

async function hand(from: typeof owner, session: string, to: typeof owner, into: string, scopes: readonly string[][], parent?: string) {
  const grants = resources.flatMap(({ identifier }, at) => (scopes[at]?.length ? [{ resource: identifier, scopes: scopes[at] }] : []))
  const offer = {
    from: session,
    toApplication: to.name,
    grants,
    hops: parent === undefined ? 1 : 0,
    ...(parent === undefined ? {} : { parent }),
  }
  const { id } = await call<{ id: string }>(from, 'POST', '/delegations', offer)
  await call(to, 'POST', `/delegations/${id}/accept`, { session: into })
  return id
}

const POLICIES = {
  'everything for everybody': `
  - { id: all, allow: ["*"], on: ["*"], for: { any: true } }`,
  'something for each, something for nobody, something asked': `
  - { id: wide, allow: [read, write, pay], on: ["*"], for: { labels: [wide] } }
  - { id: helps, allow: [read, write], on: ["*"], for: { labels: [helps] } }
  - { id: ask, hold: [pay], on: ["*"], for: { applications: [owner] }, approval: { tier: t, approvers: [role:approver], ttl: 15m } }`,
  'by depth, kind and call': `
  - { id: deep, allow: [read], on: ["*"], for: { any: true }, when: session.depth >= 2 || delegation.depth >= 1 }
  - { id: task, allow: [write], on: ["*"], for: { sessions: [task] }, when: operation.method == "GET" }
  - { id: short, allow: [pay], on: ["*"], for: { any: true }, limits: { maxTtl: 30s } }
  - { id: bound, allow: [admin], on: ["*"], for: { any: true }, limits: { senderConstrained: true } }`,
  'a delegator that may not': `
  - { id: all, allow: ["*"], on: ["*"], for: { any: true } }
  - { id: not, deny: [write, admin], on: ["*"], for: { applications: [owner] } }`,
} as const

describe('[P-036] what the view of a session shows is what a mint grants, for three generations without options and two delegations deep', () => {
  it.each(Object.entries(POLICIES))(
    '%s',
    async (_name, rules) => {
      await world.policy(zone.id, `kind: Policy\nname: authority\nrules:${rules}\n`)
      const [own, helps, last] = [await grandchild(owner), await grandchild(helper), await grandchild(third)]
      const first = await hand(owner, own.leaf, helper, helps.root, [['read', 'write', 'pay'], ['read']])
      await hand(helper, helps.leaf, third, last.root, [['read', 'write'], ['read']], first)
      const about = [
        [owner, own.leaf],
        [helper, helps.leaf],
        [third, last.leaf],
      ] as const
      for (const [by, session] of about) {
        // The Coordinator hears of the policy by a message.
        const set = (await world.database.query.selectFrom('policy_set_versions').select('id').orderBy('number', 'desc').executeTakeFirst())
          ?.id
        expect(set).toBeDefined()
        await expect
          .poll(
            async () => {
              const { ways } = await call<{ ways: readonly Way[] }>(by, 'GET', `/sessions/${session}/authority`)
              const differing: string[] = []
              for (const way of ways) {
                for (const { identifier, scopes: declared } of resources) {
                  const shown = new Map(
                    way.resources.find((one) => one.identifier === identifier)?.scopes.map(({ scope, effect }) => [scope, effect]),
                  )
                  for (const scope of declared) {
                    const minted = await world.ask(by, {
                      resource: identifier,
                      scope,
                      session,
                      ...(way.delegation === null ? {} : { delegation: way.delegation }),
                    })
                    const granted = minted.status === 200 ? 'allow' : minted.code === 'approval_required' ? 'hold' : undefined
                    if (granted !== shown.get(scope))
                      differing.push(`${by.name} ${way.delegation} ${identifier} ${scope}: shown ${shown.get(scope)}, ${minted.code}`)
                  }
                }
              }
              return { ways: ways.length, differing }
            },
            { timeout: 15_000 },
          )
          .toEqual({ ways: by === owner ? 1 : 2, differing: [] })
      }
    },
    60_000,
  )
})
