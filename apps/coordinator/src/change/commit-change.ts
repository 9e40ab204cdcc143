import type {
  CoordinationMessage,
  DelegationId,
  Event,
  EventType,
  Refusal,
  Result,
  Revocation,
  SessionId,
  UnixMillis,
  ZoneId,
} from '@caracal/core'
import { answerReceipt, enqueue, type OutboxMessage, type Queryable } from '@caracal/postgres'
import type { Answer, RouteRequest } from '@caracal/service'
import { announceRevocations } from '@caracal/streams'
import type { Caller } from '../callers/caller.ts'
import type { CoordinatorDesk } from '../desk.ts'
import { zoneOf } from '../routes/parameters.ts'

/** What a change was, once its rows are written. */
export type Change = {
  readonly answer: Answer
  /** Null: nothing changed, or nothing that evidence speaks of (a heartbeat). */
  readonly event: { readonly type: EventType; readonly target: NonNullable<Event['target']>; readonly details?: Event['details'] } | null
  /** Rows that whoever caches them reads anew. */
  readonly changed: readonly { readonly kind: CoordinationMessage['kind']; readonly id: SessionId | DelegationId }[]
  readonly revocations: readonly Revocation[]
}

/** Who changes something in which zone; `request` is absent when time does. */
export type Act = {
  readonly zone: ZoneId
  readonly actor: Caller['actor'] | null
  readonly request: Pick<RouteRequest, 'id' | 'clientRequestId' | 'trace' | 'idempotency' | 'method' | 'url'> | null
}

/** The act of a request within a zone. */
export function actOf(request: NonNullable<Act['request']> & Pick<RouteRequest, 'zone'>, caller: Caller): Act {
  return { zone: zoneOf(request), actor: caller.actor, request }
}

/** Thrown to leave a transaction without a trace. */
class RolledBack extends Error {
  readonly refusal: Refusal
  constructor(refusal: Refusal) {
    super('rolled back')
    this.refusal = refusal
  }
}

const MOST_TRIES = 4

/**
 * One mutation in one transaction (P-124): rows, evidence, messages to replicas and idempotency receipt. Either all of it is there
 * afterwards or nothing; a refusal of `work` undoes what it wrote. Two changes that waited on each other crosswise are tried again.
 */
export async function commitChange(
  desk: Pick<CoordinatorDesk, 'database' | 'streams' | 'evidence' | 'clock'>,
  act: Act,
  work: (tx: Queryable, now: UnixMillis) => Promise<Result<Change>>,
): Promise<Refusal | Answer> {
  for (let tries = 1; ; tries += 1) {
    let revocations: readonly Revocation[] = []
    try {
      const answer = await desk.database.transaction(async (tx) => {
        const now = desk.clock()
        const done = await work(tx, now)
        if (!done.ok) throw new RolledBack(done)
        await enqueue(tx, messagesOf(desk, act, done.value))
        revocations = done.value.revocations
        const claim = act.request?.idempotency
        if (claim) {
          const { status, headers, body } = done.value.answer
          await answerReceipt(tx, { principal: claim.scope, key: claim.key }, { status, headers, body: JSON.stringify(body) }, now)
        }
        return done.value.answer
      })
      if (act.request?.idempotency) act.request.idempotency.settled = true
      await announceRevocations(desk.streams, revocations)
      return answer
    } catch (error) {
      if (error instanceof RolledBack) return error.refusal
      if (tries >= MOST_TRIES || !isDeadlock(error)) throw error
    }
  }
}

/** SQLSTATE 40P01: Postgres chose this transaction to give way. */
function isDeadlock(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '40P01'
}

/** What the transaction of a change leaves in the outbox. */
export function messagesOf(desk: Pick<CoordinatorDesk, 'evidence'>, { zone, actor, request }: Act, change: Change): OutboxMessage[] {
  const messages: OutboxMessage[] = []
  // The aggregate is the API's for the same ids: a lift never overtakes a revocation.
  for (const revocation of change.revocations) {
    messages.push({ stream: 'caracal.revocations', aggregate: zone, payload: JSON.stringify(revocation) })
  }
  for (const { kind, id } of change.changed) {
    const message: CoordinationMessage = { v: 1, zone, kind, id }
    messages.push({ stream: 'caracal.coordination', aggregate: id, payload: JSON.stringify(message) })
  }
  if (change.event !== null) {
    messages.push(
      desk.evidence({ zone, ...change.event, ...(actor === null ? {} : { actor }), ...(request === null ? {} : frame(request)) }),
    )
  }
  return messages
}

function frame({ id, clientRequestId, trace, method, url }: NonNullable<Act['request']>) {
  return {
    operation: { method, path: url.split('?')[0] ?? url },
    request_id: id,
    ...(clientRequestId === undefined ? {} : { client_request_id: clientRequestId }),
    trace_id: trace.traceId,
  }
}
