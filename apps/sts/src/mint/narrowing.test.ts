import { type ApplicationId, type MandateClaims, newId, type PolicyRule, revocableIds, type SessionId } from '@caracal/core'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type MintModel, mintModel, NOW, SCOPES } from '../test-support/mint-model.ts'

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const TYPE = 'urn:ietf:params:oauth:token-type:access_token'
const APPLICATIONS = [
  { name: 'owner', labels: ['wide'] },
  { name: 'helper', labels: ['wide', 'narrow'] },
  { name: 'stranger', labels: ['narrow'] },
]

const index = fc.nat(1_000)
const some = fc.oneof(fc.constant([...SCOPES]), fc.subarray([...SCOPES]))
const ruleOf = (effect: 'allow' | 'deny') =>
  fc.record({
    scopes: fc.subarray([...SCOPES, '*'], { minLength: 1 }),
    label: fc.constantFrom('wide', 'narrow', null),
    kind: fc.constantFrom('task', 'service', 'none', null),
    on: fc.constantFrom('*', 'https://one.example/'),
    maxTtl: fc.option(fc.integer({ min: 10, max: 400 })),
    once: fc.boolean(),
    effect: fc.constant(effect),
  })
type Drawn = typeof allow extends fc.Arbitrary<infer T> ? T : never
const allow = ruleOf('allow')
/** Mostly generous, so that much is granted that could be too wide. */
const rules = fc.tuple(fc.array(allow, { maxLength: 3 }), fc.array(ruleOf('deny'), { maxLength: 2 }), fc.integer({ min: 0, max: 3 }))

/** What happens: numbers choose among what is there when it happens. */
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('session' as const),
      who: index,
      above: fc.option(index),
      service: fc.boolean(),
      ends: fc.integer({ min: 5, max: 20_000 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('delegation' as const),
      from: index,
      to: index,
      above: fc.option(index),
      one: some,
      two: some,
      ends: fc.integer({ min: 5, max: 20_000 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('mint' as const),
      who: index,
      resource: index,
      scopes: fc.option(fc.array(fc.constantFrom(...SCOPES), { minLength: 1, maxLength: 5 }), { freq: 2 }),
      ttl: fc.option(fc.integer({ min: 1, max: 3_000 })),
      once: fc.constantFrom(null, null, 'false', 'true'),
      session: fc.option(index, { freq: 4 }),
      delegation: fc.option(index, { freq: 4 }),
      exchange: fc.option(index, { freq: 2 }),
      order: fc.array(index, { minLength: 12, maxLength: 12 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('revoke' as const), which: index }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pass' as const), seconds: fc.integer({ min: 1, max: 200 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('rules' as const), rules }) },
)

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never
type MintStep = Extract<Step, { do: 'mint' }>

/** Who acts in a mandate, as the model knows it: an application, in a session or without one. */
type Party = { readonly application: ApplicationId; readonly kind: 'task' | 'service' | 'none' }
/** A mandate with everything that it stands on, as the model knows it. */
type Held = {
  readonly token: string
  readonly claims: MandateClaims
  readonly parties: readonly Party[]
  readonly ancestors: ReadonlySet<string>
  readonly end: number
}

const pick = <T>(list: readonly T[], at: number): T | undefined => list[at % Math.max(1, list.length)]

function toRules([allows, denies, generous]: typeof rules extends fc.Arbitrary<infer T> ? T : never): PolicyRule[] {
  const all = { scopes: ['*'], label: null, kind: null, on: '*', maxTtl: null, once: false, effect: 'allow' } as const
  const drawn: readonly Drawn[] = [
    ...(generous > 0 ? [{ ...all, scopes: ['*'] } as Drawn] : []),
    ...allows,
    ...(denies as unknown as Drawn[]),
  ]
  return drawn.map(({ effect, scopes, on, label, kind, maxTtl, once }, at) => ({
    id: `r${at}`,
    effect,
    scopes,
    on: [on],
    for:
      label === null && kind === null
        ? { any: true }
        : { ...(label === null ? {} : { labels: [label] }), ...(kind === null ? {} : { sessions: [kind] }) },
    ...(effect === 'allow' && (maxTtl !== null || once)
      ? { limits: { ...(maxTtl === null ? {} : { maxTtl }), ...(once ? { once: true as const } : {}) } }
      : {}),
  }))
}

/** The same rules, read naively: whether this party may do that, and the limits of every rule that lets it. */
function mayDo(list: readonly PolicyRule[], labels: readonly string[], kind: Party['kind'], resource: string, scope: string) {
  const matching = list.filter(
    (rule) =>
      (rule.scopes.includes('*') || rule.scopes.includes(scope)) &&
      (rule.on.includes('*') || rule.on.includes(resource)) &&
      (rule.for.labels === undefined || rule.for.labels.some((label) => labels.includes(label))) &&
      (rule.for.sessions === undefined || rule.for.sessions.includes(kind)),
  )
  const allows = matching.filter((rule) => rule.effect === 'allow')
  return {
    allowed: allows.length > 0 && matching.every((rule) => rule.effect !== 'deny'),
    maxTtl: Math.min(...allows.flatMap((rule) => rule.limits?.maxTtl ?? [])),
    once: allows.some((rule) => rule.limits?.once === true),
  }
}

class Run {
  readonly model: MintModel = mintModel(APPLICATIONS, true)
  readonly held: Held[] = []
  readonly revoked = new Set<string>()
  rules: readonly PolicyRule[]
  granted = 0

  constructor(first: readonly PolicyRule[]) {
    this.rules = first
    this.model.rules(first)
  }

  async take(done: Step): Promise<void> {
    const { rows, members, clock } = this.model
    const stored = { version: 1, createdAt: 0, updatedAt: 0, zone: this.model.zone }
    if (done.do === 'pass') clock.now += done.seconds * 1000
    else if (done.do === 'rules') {
      this.rules = toRules(done.rules)
      this.model.rules(this.rules)
    } else if (done.do === 'revoke') {
      const id = pick([...rows.sessions.keys(), ...rows.delegations.keys(), ...this.held.map(({ claims }) => claims.jti)], done.which)
      if (id === undefined) return
      this.revoked.add(id)
      this.model.revoke(id, id.startsWith('ses') ? 'session' : id.startsWith('dlg') ? 'delegation' : 'mandate')
    } else if (done.do === 'session') {
      const application = pick(members, done.who)?.id as ApplicationId
      const above =
        done.above === null
          ? undefined
          : pick(
              [...rows.sessions.values()].filter((one) => one.application === application),
              done.above,
            )
      const id = newId('session')
      const end = clock.now + done.ends * 1000
      rows.sessions.set(id, {
        ...stored,
        id,
        application,
        kind: done.service ? 'service' : 'task',
        parent: above?.id ?? null,
        lineage: [...(above?.lineage ?? []), id],
        labels: [],
        subject: null,
        state: 'active',
        expiresAt: end,
        lease: done.service ? { generation: 1, expiresAt: end - 3_000 } : null,
        endedAt: null,
      })
    } else if (done.do === 'delegation') {
      const from = pick([...rows.sessions.values()], done.from)
      const to = pick([...rows.sessions.values()], done.to)
      if (from === undefined || to === undefined) return
      const above =
        done.above === null
          ? undefined
          : pick(
              [...rows.delegations.values()].filter((one) => one.to !== null && from.lineage.includes(one.to)),
              done.above,
            )
      const id = newId('delegation')
      const [one, two] = this.model.resources
      rows.delegations.set(id, {
        ...stored,
        id,
        from: from.id,
        fromApplication: from.application,
        fromLineage: from.lineage,
        toApplication: to.application,
        to: to.id,
        parent: above?.id ?? null,
        lineage: [...(above?.lineage ?? []), id],
        grants: [
          { resource: one?.id ?? newId('resource'), scopes: done.one },
          { resource: two?.id ?? newId('resource'), scopes: done.two },
        ],
        hops: 9,
        state: 'active',
        expiresAt: clock.now + done.ends * 1000,
      })
    } else await this.mint(done)
  }

  async mint(done: MintStep): Promise<void> {
    const { rows, members, resources } = this.model
    const caller = pick(members, done.who)
    const parent = done.exchange === null ? undefined : pick(this.held.slice(-3), done.exchange)
    const resource =
      parent === undefined ? pick(resources, done.resource) : resources.find(({ identifier }) => identifier === parent.claims.aud)
    if (caller === undefined || resource === undefined) return
    const delegation =
      done.delegation === null
        ? undefined
        : pick(
            [...rows.delegations.values()].filter((one) => one.toApplication === caller.id),
            done.delegation,
          )
    const own = [...rows.sessions.values()].filter((one) => one.application === caller.id)
    const session =
      delegation === undefined
        ? done.session === null
          ? undefined
          : pick(own, done.session)
        : own.find((one) => one.lineage.includes(delegation.to as SessionId))
    const fields: [string, string][] = [['grant_type', parent === undefined ? 'client_credentials' : EXCHANGE]]
    if (parent !== undefined) fields.push(['subject_token', parent.token], ['subject_token_type', TYPE])
    if (parent === undefined || done.order[0] === 0) fields.push(['resource', resource.identifier])
    if (done.scopes !== null) fields.push(['scope', done.scopes.join(' ')])
    if (done.ttl !== null) fields.push(['ttl', String(done.ttl)])
    if (done.once !== null) fields.push(['once', done.once])
    if (session !== undefined) fields.push(['session', session.id])
    if (delegation !== undefined && session !== undefined) fields.push(['delegation', delegation.id])

    const minted = await this.model.mint(caller.id, fields)
    // The same in another order, with the scopes turned round and one named twice, is the same mandate or the same refusal.
    const turned = fields
      .map(([name, value], at): [number, [string, string]] => [
        done.order[at] ?? 0,
        [name, name === 'scope' ? [...value.split(' ').reverse(), ...value.split(' ').slice(0, 1)].join(' ') : value],
      ])
      .sort(([a], [b]) => a - b)
      .map(([, field]) => field)
    const again = await this.model.mint(caller.id, turned)
    // Which of several faults a refusal names depends on the order; whether it is one does not.
    expect(again.ok && essence(again.claims)).toEqual(minted.ok && essence(minted.claims))
    if (!minted.ok) return
    this.granted += 1
    this.held.push(this.check(minted, done, { caller: caller.id, parent, resource, session, delegation }))
  }

  /** Holds the mandate against everything that it stands on, as the model and not the mint knows it. */
  check(
    { token, claims }: { readonly token: string; readonly claims: MandateClaims },
    done: MintStep,
    at: {
      readonly caller: ApplicationId
      readonly parent: Held | undefined
      readonly resource: MintModel['resources'][number]
      readonly session: ReturnType<MintModel['rows']['sessions']['get']>
      readonly delegation: ReturnType<MintModel['rows']['delegations']['get']>
    },
  ): Held {
    const { rows, members, clock } = this.model
    const { parent, resource, session, delegation } = at
    const scopes = new Set(claims.scope.split(' '))
    const chain = delegation === undefined ? [] : delegation.lineage.flatMap((id) => rows.delegations.get(id) ?? [])
    const sessions = [...(session?.lineage ?? []), ...chain.flatMap((link) => link.fromLineage)].flatMap(
      (id) => rows.sessions.get(id) ?? [],
    )

    // Resource and scopes.
    expect(claims.aud).toBe(parent?.claims.aud ?? resource.identifier)
    if (done.scopes !== null) expect(scopes).toEqual(new Set(done.scopes))
    for (const scope of scopes) {
      expect(resource.scopes).toContain(scope)
      if (parent !== undefined) expect(parent.claims.scope.split(' ')).toContain(scope)
      for (const { grants } of chain) expect(grants.find((grant) => grant.resource === resource.id)?.scopes).toContain(scope)
    }

    // Policy of everybody on whose authority it is, the parent's too, as the rules are now.
    const kindOf = (one: typeof session): Party['kind'] => one?.kind ?? 'none'
    const inherited = parent === undefined ? [] : parent.parties
    const leaf = session === undefined ? (inherited[0]?.kind ?? 'none') : kindOf(session)
    const delegators = chain.map((link): Party => ({ application: link.fromApplication, kind: kindOf(rows.sessions.get(link.from)) }))
    const parties: Party[] = [
      { application: at.caller, kind: leaf },
      ...delegators,
      ...inherited.slice(inherited[0]?.application === at.caller ? 1 : 0),
    ]
    let maxTtl = Number.POSITIVE_INFINITY
    let once = done.once === 'true' || resource.once
    for (const party of parties) {
      const labels = members.find(({ id }) => id === party.application)?.labels ?? []
      for (const scope of scopes) {
        const may = mayDo(this.rules, labels, party.kind, resource.identifier, scope)
        expect(may.allowed, `${party.application} ${party.kind} may not ${scope}`).toBe(true)
        maxTtl = Math.min(maxTtl, may.maxTtl)
        once ||= may.once
      }
    }
    if (once) expect(claims.once).toBe(true)
    expect(parent?.claims.once).toBeUndefined()

    // Life.
    const now = Math.floor(clock.now / 1000)
    const end = Math.min(
      parent?.end ?? Number.POSITIVE_INFINITY,
      ...sessions.flatMap((one) => [one.expiresAt / 1000, ...(one.lease === null ? [] : [one.lease.expiresAt / 1000])]),
      ...chain.map((link) => link.expiresAt / 1000),
      now + Math.min(900, maxTtl, done.ttl ?? resource.mandateLife),
    )
    expect(claims.exp).toBeLessThanOrEqual(end)
    expect(claims.exp).toBeGreaterThan(now)

    // Lineage: everything that it stands on is in it, and whoever revokes any of that revokes it.
    const ancestors = new Set([
      ...(parent?.ancestors ?? []),
      ...(parent === undefined ? [] : [parent.claims.jti]),
      ...sessions.map(({ id }) => id),
      ...chain.map(({ id }) => id),
      ...parties.map(({ application }) => application),
      claims.jti,
    ])
    expect(revocableIds(claims)).toEqual(expect.arrayContaining([...ancestors]))
    for (const id of ancestors) expect(this.revoked).not.toContain(id)
    return { token, claims, parties, ancestors, end: claims.exp }
  }
}

/** What of a mandate must not depend on how its request was written. */
function essence({ jti: _jti, txn: _txn, scope, ...claims }: MandateClaims) {
  return { ...claims, scope: scope.split(' ').sort() }
}

it('[P-001] [P-002] [P-035] [P-038] whatever sessions, delegations, exchanges, rules and parameters: no mint widens anything it stands on', async () => {
  let runs = 0
  let granted = 0
  let exchanged = 0
  let deep = 0
  await fc.assert(
    fc.asyncProperty(rules, fc.array(step, { minLength: 4, maxLength: 14, size: 'max' }), async (first, steps) => {
      const run = new Run(toRules(first))
      for (const done of steps) await run.take(done)
      runs += 1
      granted += run.granted
      exchanged += run.held.filter(({ claims }) => claims.mnd !== undefined).length
      deep += run.held.filter(({ claims }) => (claims.dlg?.length ?? 0) > 0).length
      expect(run.model.clock.now).toBeGreaterThanOrEqual(NOW)
    }),
    { numRuns: Number(process.env.NARROWING_RUNS ?? 300) },
  )
  // Not vacuous: much was granted, and of every kind.
  expect(granted).toBeGreaterThan(runs / 2)
  expect(exchanged).toBeGreaterThan(runs / 20)
  expect(deep).toBeGreaterThan(runs / 100)
}, 120_000)

it('[P-002] [P-030] an exchange asks the policy of everybody whose authority the parent mandate holds, however far back', async () => {
  const free: PolicyRule = { id: 'free', effect: 'allow', scopes: ['*'], on: ['*'], for: { any: true } }
  const model = mintModel(APPLICATIONS, false)
  const [owner, helper, stranger] = model.members.map(({ id }) => id)
  const exchange = async (by: ApplicationId | undefined, subject: string) =>
    model.mint(by ?? newId('application'), [
      ['grant_type', EXCHANGE],
      ['subject_token', subject],
      ['subject_token_type', TYPE],
      ['scope', 'a'],
    ])
  model.rules([free])
  let last = await model.mint(owner ?? newId('application'), [
    ['grant_type', 'client_credentials'],
    ['resource', 'https://one.example/'],
  ])
  for (const by of [helper, stranger, stranger]) last = last.ok ? await exchange(by, last.token) : last
  expect(last).toMatchObject({ ok: true })
  const token = last.ok ? last.token : ''
  for (const name of ['owner', 'helper']) {
    model.rules([free, { ...free, id: 'not', effect: 'deny', for: { applications: [name] } }])
    expect(await exchange(stranger, token)).toEqual({ ok: false, reason: 'denied_by_rule' })
  }
  // The limits of those who come before hold as well.
  model.rules([
    { ...free, id: 'others', for: { applications: ['helper', 'stranger'] } },
    { ...free, for: { applications: ['owner'] }, limits: { maxTtl: 20, once: true } },
  ])
  const limited = await exchange(stranger, token)
  expect(limited).toMatchObject({ ok: true, claims: { once: true } })
  if (limited.ok) expect(limited.claims.exp - limited.claims.iat).toBeLessThanOrEqual(20)
})
