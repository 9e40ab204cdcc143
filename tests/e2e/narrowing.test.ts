import { randomBytes } from 'node:crypto'
import { coordinatorConfiguration, startCoordinator } from '@caracal/coordinator'
import type { Delegation, MandateClaims, Resource, Session, ZoneId } from '@caracal/core'
import { createLogger, type RunningService } from '@caracal/service'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorld, type World } from '../../apps/sts/src/test-support/world.ts'

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const TYPE = 'urn:ietf:params:oauth:token-type:access_token'
const SCOPES = ['a', 'b', 'c', 'd'] as const
/** What policy lets each application do at both resources. */
const MAY: Readonly<Record<string, readonly string[]>> = { alpha: SCOPES, beta: ['a', 'b', 'c'], gamma: ['b', 'c', 'd'] }
const NAMES = Object.keys(MAY)

type Party = Awaited<ReturnType<World['application']>> & { readonly own: string }
/** A mandate with what it stands on, as the answers that made it say. */
type Held = { readonly token: string; readonly claims: MandateClaims; readonly parties: readonly string[] }

let world: World
let coordinator: RunningService
let zone: ZoneId
let resources: readonly Resource[]
const parties = new Map<string, Party>()

beforeAll(async () => {
  const keys = { STREAMS_HMAC_KEY: randomBytes(32).toString('hex'), AUDIT_HMAC_KEY: randomBytes(32).toString('hex') }
  world = await openWorld({ environment: { ...keys, APPLICATION_RATE: '0' } })
  const { database, streams } = world
  const common = { CARACAL_MODE: 'dev', HOST: '127.0.0.1', PORT: '0', METRICS_PORT: '0', LOG_LEVEL: 'silent', STREAMS_DRIVER: 'postgres' }
  const configuration = coordinatorConfiguration.parse({ ...common, ...keys, ISSUER_URL: 'http://127.0.0.1:8080' })
  coordinator = await startCoordinator(configuration, { database, streams, logger: createLogger({ name: 'test', level: 'silent' }) })
  zone = (await world.zone()).id
  resources = [await world.resource(zone, { scopes: SCOPES }), await world.resource(zone, { scopes: SCOPES.slice(0, 3) })]
  const rules = NAMES.map((name) => `  - { id: ${name}, allow: [${MAY[name]}], on: ["*"], for: { applications: [${name}] } }`)
  const applications = []
  for (const name of NAMES) applications.push(await world.application(zone, { name }))
  await world.policy(zone, `kind: Policy\nname: narrow\nrules:\n${rules.join('\n')}\n`)
  for (const application of applications) {
    const own = await world.ask(application, { resource: `http://127.0.0.1:8080/zones/${zone}`, ttl: '900' })
    parties.set(application.name, { ...application, own: own.access_token ?? '' })
  }
}, 60_000)
afterAll(async () => {
  await coordinator?.stop()
  await world?.close()
})

async function coordinate<T>(party: Party, path: string, body?: unknown): Promise<{ readonly status: number; readonly body: T }> {
  const answer = await fetch(`${coordinator.address.url}/v1/zones/${zone}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${party.own}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: (await answer.json()) as T }
}

const index = fc.nat(1_000)
const scopes = fc.subarray([...SCOPES], { minLength: 1 })
/** What happens: numbers choose among what is there when it happens. */
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('session' as const),
      who: index,
      above: fc.option(index),
      ttl: fc.integer({ min: 30, max: 2_000 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('delegation' as const),
      from: index,
      to: index,
      above: fc.option(index, { freq: 2 }),
      one: scopes,
      two: scopes,
      ends: fc.integer({ min: 30, max: 2_000 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('mint' as const),
      who: index,
      resource: index,
      scopes: fc.option(scopes),
      ttl: fc.option(fc.integer({ min: 1, max: 3_000 })),
      session: fc.option(index, { freq: 3 }),
      delegation: fc.option(index, { freq: 4 }),
      exchange: fc.option(index, { freq: 2 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end' as const), which: index }) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

const pick = <T>(list: readonly T[], at: number): T | undefined => list[at % Math.max(1, list.length)]
const nameOf = (id: string) => [...parties.values()].find((party) => party.id === id)?.name ?? ''

/** What came into being so far, told by the services; what each mandate may be is computed from this alone. */
class Run {
  readonly sessions = new Map<string, Session>()
  readonly delegations = new Map<string, Delegation>()
  readonly ended = new Set<string>()
  readonly held: Held[] = []

  async take(done: Step): Promise<void> {
    if (done.do === 'session') await this.start(done)
    else if (done.do === 'delegation') await this.delegate(done)
    else if (done.do === 'mint') await this.mint(done)
    else await this.end(done)
  }

  async start({ who, above, ttl }: Extract<Step, { do: 'session' }>): Promise<void> {
    const party = parties.get(pick(NAMES, who) ?? '') as Party
    const mine = [...this.sessions.values()].filter(({ application }) => application === party.id)
    const parent = above === null ? undefined : pick(mine, above)
    const made = await coordinate<Session>(party, '/sessions', {
      kind: 'task',
      ttl,
      ...(parent === undefined ? {} : { parent: parent.id }),
    })
    expect([201, 400]).toContain(made.status)
    if (made.status !== 201) return
    expect(made.body.lineage).toEqual([...(parent?.lineage ?? []), made.body.id])
    if (parent !== undefined) expect(made.body.expiresAt).toBeLessThanOrEqual(parent.expiresAt)
    expect(made.body.lineage.some((id) => this.ended.has(id))).toBe(false)
    this.sessions.set(made.body.id, made.body)
  }

  async delegate({ from, to, above, one, two, ends }: Extract<Step, { do: 'delegation' }>): Promise<void> {
    const source = pick([...this.sessions.values()], from)
    const target = pick(
      [...this.sessions.values()].filter(({ application }) => application !== source?.application),
      to,
    )
    if (source === undefined || target === undefined) return
    const usable = [...this.delegations.values()].filter((link) => link.to !== null && source.lineage.includes(link.to))
    const parent = above === null ? undefined : pick(usable, above)
    const grants = [one, two].map((granted, at) => ({ resource: resources[at]?.id, scopes: granted }))
    const asked = { from: source.id, toApplication: target.application, grants, hops: 5, expiresAt: Date.now() + ends * 1000 }
    const offering = parties.get(nameOf(source.application)) as Party
    const offered = await coordinate<Delegation>(offering, '/delegations', {
      ...asked,
      ...(parent === undefined ? {} : { parent: parent.id }),
    })
    expect([201, 400, 422]).toContain(offered.status)
    if (offered.status !== 201) return
    const accepting = parties.get(nameOf(target.application)) as Party
    const accepted = await coordinate<Delegation>(accepting, `/delegations/${offered.body.id}/accept`, { session: target.id })
    if (accepted.status !== 200) return
    const link = accepted.body
    expect(link.expiresAt).toBeLessThanOrEqual(source.expiresAt)
    for (const { resource, scopes: granted } of link.grants) {
      const most = parent?.grants.find((grant) => grant.resource === resource)?.scopes ?? SCOPES
      expect(parent === undefined || parent.grants.some((grant) => grant.resource === resource)).toBe(true)
      for (const scope of granted) expect(most).toContain(scope)
    }
    if (parent !== undefined) expect(link.expiresAt).toBeLessThanOrEqual(parent.expiresAt)
    this.delegations.set(link.id, { ...link, fromLineage: source.lineage })
  }

  async end({ which }: Extract<Step, { do: 'end' }>): Promise<void> {
    const session = pick([...this.sessions.values()], which)
    if (session === undefined) return
    const { status } = await coordinate(parties.get(nameOf(session.application)) as Party, `/sessions/${session.id}/end`)
    expect(status).toBe(200)
    this.ended.add(session.id)
    // The STS hears of it within moments; from then on nothing new stands on it.
    const party = parties.get(nameOf(session.application)) as Party
    const below = this.held.find(({ claims }) => claims.ses?.includes(session.id))
    const resource = resources[0]?.identifier
    const exchange = { grant_type: EXCHANGE, subject_token: below?.token, subject_token_type: TYPE, resource: below?.claims.aud as string }
    await expect.poll(async () => (await world.ask(party, { resource, session: session.id })).status, { timeout: 10_000 }).toBe(400)
    if (below === undefined) return
    const holder = parties.get(nameOf(below.claims.client_id)) as Party
    await expect.poll(async () => (await world.ask(holder, exchange)).status, { timeout: 10_000 }).toBe(400)
  }

  async mint(done: Extract<Step, { do: 'mint' }>): Promise<void> {
    const caller = parties.get(pick(NAMES, done.who) ?? '') as Party
    const parent = done.exchange === null ? undefined : pick(this.held.slice(-4), done.exchange)
    const resource = parent === undefined ? pick(resources, done.resource) : resources.find((one) => one.identifier === parent.claims.aud)
    const mine = [...this.sessions.values()].filter(({ application }) => application === caller.id)
    const received = [...this.delegations.values()].filter(({ toApplication }) => toApplication === caller.id)
    const delegation = done.delegation === null ? undefined : pick(received, done.delegation)
    const standsOn = delegation === undefined ? mine : mine.filter(({ lineage }) => lineage.some((id) => id === delegation.to))
    const session = delegation === undefined && done.session === null ? undefined : pick(standsOn, done.session ?? 0)
    const answer = await world.ask(caller, {
      resource: resource?.identifier,
      ...(parent === undefined ? {} : { grant_type: EXCHANGE, subject_token: parent.token, subject_token_type: TYPE }),
      ...(done.scopes === null ? {} : { scope: done.scopes.join(' ') }),
      ...(done.ttl === null ? {} : { ttl: String(done.ttl) }),
      ...(session === undefined ? {} : { session: session.id }),
      ...(delegation === undefined ? {} : { delegation: delegation.id }),
    })
    expect(answer.status).toBeLessThan(500)
    if (answer.access_token === undefined || resource === undefined) return
    const claims = answer.claims as unknown as MandateClaims
    const granted = claims.scope.split(' ')
    const chain = delegation === undefined ? [] : delegation.lineage.flatMap((id) => this.delegations.get(id) ?? [])
    if (delegation !== undefined) expect(chain.length).toBe(delegation.lineage.length)

    expect(claims.aud).toBe(resource.identifier)
    if (done.scopes !== null) expect(new Set(granted)).toEqual(new Set(done.scopes))
    const authorities = [caller.name, ...chain.map(({ fromApplication }) => nameOf(fromApplication)), ...(parent?.parties ?? [])]
    for (const scope of granted) {
      expect(resource.scopes).toContain(scope)
      if (parent !== undefined) expect(parent.claims.scope.split(' ')).toContain(scope)
      for (const link of chain) expect(link.grants.find((grant) => grant.resource === resource.id)?.scopes).toContain(scope)
      for (const name of authorities) expect(MAY[name], `${name} may not ${scope}`).toContain(scope)
    }

    const above = [...(session?.lineage ?? []), ...chain.flatMap(({ fromLineage }) => fromLineage)]
    const ends = [...above.map((id) => this.sessions.get(id)?.expiresAt ?? 0), ...chain.map(({ expiresAt }) => expiresAt)].map(
      (ms) => ms / 1000,
    )
    const most = claims.iat + Math.min(900, done.ttl ?? 900)
    expect(claims.exp).toBeLessThanOrEqual(Math.min(most, parent?.claims.exp ?? most, ...ends))

    // Whoever ends anything that it stands on ends it, and nothing that had ended is among it.
    const carried: readonly string[] = [...(claims.ses ?? []), ...(claims.dlg ?? []), ...(claims.mnd ?? [])]
    const needed = [...above, ...chain.map(({ id }) => id)]
    const inherited =
      parent === undefined
        ? []
        : [parent.claims.jti, ...(parent.claims.mnd ?? []), ...(parent.claims.ses ?? []), ...(parent.claims.dlg ?? [])]
    for (const id of [...needed, ...inherited]) expect(carried).toContain(id)
    for (const id of carried) expect(this.ended.has(id), `${id} has ended`).toBe(false)
    this.held.push({ token: answer.access_token, claims, parties: authorities })
  }
}

test('[P-002] [P-035] over random sessions, delegations, mints and exchanges at a real STS and Coordinator nothing ever widens', async () => {
  let mints = 0
  let exchanged = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 45 }), async (steps) => {
      const run = new Run()
      // Something to choose from.
      for (let who = 0; who < NAMES.length; who += 1) await run.start({ do: 'session', who, above: null, ttl: 1_000 })
      for (const done of steps) await run.take(done)
      mints += run.held.length
      exchanged += run.held.filter(({ claims }) => (claims.mnd ?? []).length > 0).length
    }),
    { numRuns: 12 },
  )
  // Refusals alone would prove nothing.
  expect(mints).toBeGreaterThan(20)
  expect(exchanged).toBeGreaterThan(0)
}, 120_000)
