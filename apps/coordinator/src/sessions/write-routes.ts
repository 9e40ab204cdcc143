import { type ApplicationId, ok, type Result, refuse, type Session, type SessionId, type UnixMillis, type ZoneId } from '@caracal/core'
import type { Queryable } from '@caracal/postgres'
import { answer, Problem, type RouteRequest, type RouteRow, route } from '@caracal/service'
import Type from 'typebox'
import { applicationOf } from '../callers/application-of.ts'
import { type Caller, callerOf } from '../callers/caller.ts'
import { actOf, type Change, commitChange } from '../change/commit-change.ts'
import { changesTogether } from '../change/commit-together.ts'
import type { CoordinatorDesk } from '../desk.ts'
import { IdOf, InZone, LabelTexts, OfZone, zoneOf } from '../routes/parameters.ts'
import { SESSION_WRITERS } from '../routes/who-may.ts'
import { type AskedEnd, endSession, endTogether } from './end-session.ts'
import { heartbeat, takeOver } from './lease.ts'
import { liveCounts } from './live-counts.ts'
import { lockForChange } from './lock-session.ts'
import { SessionBody, showSession } from './session-body.ts'
import { type AskedStart, LEASE_SECONDS, LONGEST_SESSION, type SessionRequest, startSession, startTogether } from './start-session.ts'
import { resumeSession, suspendSession } from './suspend-resume.ts'

const Ttl = Type.Integer({ minimum: 1, maximum: LONGEST_SESSION, description: 'Seconds' })
const Lease = Type.Integer({ minimum: LEASE_SECONDS.least, maximum: LEASE_SECONDS.most, description: 'Seconds' })
const starting = {
  application: Type.Optional(Type.String({ description: 'Id or name; operators only, an application starts its own' })),
  parent: Type.Optional(IdOf('session')),
  labels: Type.Optional(LabelTexts),
}
const Start = Type.Union([
  Type.Object({ kind: Type.Literal('task'), ttl: Ttl, ...starting }),
  Type.Object({ kind: Type.Literal('service'), lease: Lease, ttl: Type.Optional(Ttl), ...starting }),
])
const Heartbeat = Type.Object({ generation: Type.Integer({ minimum: 1, maximum: 2_147_483_647 }), lease: Type.Optional(Lease) })
const TakeOver = Type.Object({ lease: Type.Optional(Lease) })

const row = { who: SESSION_WRITERS, exposure: 'public', rate: 'mutation', idempotent: true } as const
const refusals = {
  400: Problem('session_not_usable', 'session_suspended', 'lineage_expired'),
  404: Problem('not_found'),
  503: Problem('revocation_view_stale', 'store_unavailable', 'starting'),
} as const

type LifeRequest = Omit<RouteRequest, 'params' | 'body'> & { readonly params: { readonly id: SessionId } }
type Work = (tx: Queryable, zone: ZoneId, id: SessionId, caller: Caller, now: UnixMillis) => Promise<Result<Change>>

/** Everything that changes a session. Each row is one transaction. */
export function sessionWriteRoutes(desk: CoordinatorDesk): RouteRow[] {
  const commit = (request: LifeRequest, work: Work) => {
    const caller = callerOf(request.principal)
    const act = actOf(request, caller)
    return commitChange(desk, act, (tx, now) => work(tx, act.zone, request.params.id, caller, now))
  }
  const life = (path: 'suspend' | 'resume', summary: string, audit: string, work: Work) =>
    route({
      ...row,
      method: 'POST',
      path: `/v1/zones/:zone/sessions/:id/${path}`,
      summary,
      audit,
      params: InZone('session'),
      reply: { 200: SessionBody, ...refusals },
      handle: (request) => commit(request, work),
    })

  const counts = liveCounts(desk.limits)
  const start = changesTogether<AskedStart>(
    desk,
    async (tx, zone, starts, now) => {
      const started = await startTogether(tx, desk.limits, counts, zone, starts, now)
      return started.map((one) => (one !== 'later' && one.ok ? ok(startOf(one.value)) : one))
    },
    (act, asked) =>
      commitChange(desk, act, async (tx, now) => {
        const started = await startSession(tx, desk.limits, act.zone, asked, now)
        return started.ok ? ok(startOf(started.value)) : started
      }),
  )
  const end = changesTogether<AskedEnd>(desk, endTogether, (act, { caller, id }) =>
    commitChange(desk, act, async (tx, now) => {
      const locked = await lockForChange(tx, act.zone, id, caller)
      return locked.ok ? endSession(tx, locked.value.session, { by: caller.by, reason: 'ended' }, now) : locked
    }),
  )

  return [
    route({
      ...row,
      method: 'POST',
      path: '/v1/zones/:zone/sessions',
      summary: 'Start a session',
      audit: 'session.started',
      params: OfZone,
      body: Start,
      reply: { 201: SessionBody, ...refusals, 422: Problem('validation_failed'), 429: Problem('limit_reached', 'rate_limited') },
      handle: async (request) => {
        const zone = zoneOf(request)
        const caller = callerOf(request.principal)
        const { body } = request
        const application = await applicationFor(desk, zone, caller, body.application)
        if (!application.ok) return application
        const common = { application: application.value, parent: body.parent ?? caller.within, labels: body.labels ?? [] }
        const asked: SessionRequest =
          body.kind === 'task'
            ? { ...common, kind: 'task', ttl: body.ttl }
            : { ...common, kind: 'service', lease: body.lease, ttl: body.ttl }
        return start(actOf(request, caller), { caller, request: asked })
      },
    }),
    route({
      ...row,
      method: 'POST',
      path: '/v1/zones/:zone/sessions/:id/heartbeat',
      summary: 'Renew the lease that you hold',
      params: InZone('session'),
      body: Heartbeat,
      reply: { 200: SessionBody, ...refusals, 409: Problem('lease_lost') },
      handle: (request) =>
        commit(request, (tx, zone, id, caller, now) => {
          const { generation, lease = LEASE_SECONDS.usual } = request.body
          return heartbeat(tx, { zone, id, generation, lease }, caller, now)
        }),
    }),
    route({
      ...row,
      method: 'POST',
      path: '/v1/zones/:zone/sessions/:id/lease',
      summary: 'Take the lease over: whoever held it before has lost it',
      audit: 'session.leased',
      params: InZone('session'),
      body: TakeOver,
      reply: { 200: SessionBody, ...refusals },
      handle: (request) =>
        commit(request, (tx, zone, id, caller, now) =>
          takeOver(tx, { zone, id, lease: request.body.lease ?? LEASE_SECONDS.usual }, caller, now),
        ),
    }),
    life('suspend', 'Suspend a session and everything below it', 'session.suspended', suspendSession),
    life('resume', 'Lift a suspension', 'session.resumed', resumeSession),
    route({
      ...row,
      method: 'POST',
      path: '/v1/zones/:zone/sessions/:id/end',
      summary: 'End a session and everything below it, for good',
      audit: 'session.ended',
      params: InZone('session'),
      reply: { 200: SessionBody, ...refusals },
      handle: (request) => {
        const caller = callerOf(request.principal)
        return end(actOf(request, caller), { caller, id: request.params.id })
      },
    }),
  ]
}

/** Nobody has read it yet: there is nothing to read anew. */
function startOf(session: Session): Change {
  const { id, zone, application, kind, parent, labels, expiresAt } = session
  return {
    answer: answer(201, showSession(session, 'active'), { location: `/v1/zones/${zone}/sessions/${id}` }),
    event: {
      type: 'session.started',
      target: { kind: 'session', id },
      details: { kind, application, labels, expires_at: expiresAt, ...(parent === null ? {} : { parent }) },
    },
    changed: [],
    revocations: [],
  }
}

/** Whose session it will be: an application's own, or the one that an operator names. */
async function applicationFor(
  desk: CoordinatorDesk,
  zone: ZoneId,
  caller: Caller,
  named: string | undefined,
): Promise<Result<ApplicationId>> {
  if (caller.application !== null) {
    const own = named === undefined || named === caller.application
    return own ? ok(caller.application) : refuse('forbidden', 'an application starts sessions of its own')
  }
  if (named === undefined) return refuse('missing_parameter', 'application')
  const found = await applicationOf(desk, zone, named)
  return found === undefined ? refuse('validation_failed', 'application is not known') : ok(found.id)
}
