import type {
  ConfigMessage,
  Event,
  EventType,
  PolicyMessage,
  PolicySetVersionId,
  Refusal,
  Result,
  Revocation,
  UnixMillis,
  ZoneId,
} from '@caracal/core'
import { answerReceipt, bumpConfigVersion, enqueue, inZone, type OutboxMessage, type Queryable } from '@caracal/postgres'
import type { Answer, RouteRequest } from '@caracal/service'
import { announcePolicies, announceRevocations } from '@caracal/streams'
import type { ApiDesk } from '../desk.ts'
import { eventFrame } from './event-frame.ts'

/** What of a change belongs into the ledger. */
export type ChangeEvent = { readonly zone: ZoneId; readonly type: EventType } & Pick<Event, 'target' | 'details' | 'policy'>

/** What a change was, once its rows are written. */
export type Change = {
  readonly answer: Answer
  readonly events: readonly ChangeEvent[]
  /** What replicas hold and must read anew. */
  readonly config?: readonly { readonly zone: ZoneId; readonly entity: string; readonly id: string }[]
  readonly activated?: readonly { readonly zone: ZoneId; readonly setVersion: PolicySetVersionId; readonly sha256: string }[]
  readonly revocations?: readonly Revocation[]
  /** What a repeated request is answered with, where the answer holds something that is shown once. */
  readonly receipt?: unknown
}

/** A request as far as a change needs it. */
export type ChangeRequest = Pick<
  RouteRequest,
  'id' | 'clientRequestId' | 'principal' | 'trace' | 'idempotency' | 'method' | 'url' | 'source'
>

/** Thrown to leave a transaction without a trace. */
class RolledBack extends Error {
  readonly result: Refusal | Answer
  constructor(result: Refusal | Answer) {
    super('rolled back')
    this.result = result
  }
}

const MOST_TRIES = 4

/**
 * One mutation in one transaction (P-124): rows, events, messages to replicas, configuration version and idempotency receipt.
 * Either all of it is there afterwards or nothing. A refusal of `work` undoes what it wrote; a preview (`dryRun`) does the
 * whole work and undoes it, so that it says exactly what would happen. One that has to give way to another is tried again.
 */
export async function commitChange(
  desk: Pick<ApiDesk, 'database' | 'streams' | 'evidence' | 'now'>,
  request: ChangeRequest,
  work: (tx: Queryable, now: UnixMillis) => Promise<Result<Change>>,
  options: { readonly dryRun?: boolean } = {},
): Promise<Refusal | Answer> {
  for (let tries = 1; ; tries += 1) {
    let revocations: readonly Revocation[] = []
    let activated: readonly PolicyMessage[] = []
    try {
      const answer = await desk.database.transaction(async (tx) => {
        const now = desk.now()
        const done = await work(tx, now)
        if (!done.ok) throw new RolledBack(done)
        const change = done.value
        if (options.dryRun) throw new RolledBack(change.answer)
        activated = await publish(tx, desk, request, change)
        revocations = change.revocations ?? []
        const { idempotency } = request
        if (idempotency !== null) {
          const { status, headers } = change.answer
          const body = JSON.stringify(change.receipt ?? change.answer.body)
          await answerReceipt(tx, { principal: idempotency.scope, key: idempotency.key }, { status, headers, body }, now)
        }
        return change.answer
      })
      if (request.idempotency !== null) request.idempotency.settled = true
      await Promise.all([announceRevocations(desk.streams, revocations), announcePolicies(desk.streams, activated)])
      return answer
    } catch (error) {
      if (error instanceof RolledBack) return error.result
      if (tries >= MOST_TRIES || !isDeadlock(error)) throw error
    }
  }
}

/** SQLSTATE 40P01: of two transactions that waited on each other crosswise Postgres chose this one to give way. */
function isDeadlock(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '40P01'
}

/** Writes what others learn of a change into the outbox; returns what of it is said directly too. */
async function publish(
  tx: Queryable,
  desk: Pick<ApiDesk, 'evidence'>,
  request: ChangeRequest,
  change: Change,
): Promise<readonly PolicyMessage[]> {
  const messages: OutboxMessage[] = []
  const activated: PolicyMessage[] = []
  const frame = eventFrame(request)
  const versions = new Map<ZoneId, number>()
  const touched = [...(change.config ?? []), ...(change.activated ?? [])].map(({ zone }) => zone)
  // One order for everybody: two changes of the same zones never wait on each other crosswise.
  for (const zone of [...new Set(touched)].sort()) versions.set(zone, await inZone(zone, () => bumpConfigVersion(tx, zone)))
  for (const { zone, entity, id } of change.config ?? []) {
    const message: ConfigMessage = { v: 1, zone, entity, id, version: versions.get(zone) ?? 0 }
    messages.push({ stream: 'caracal.config', aggregate: zone, payload: JSON.stringify(message) })
  }
  for (const { zone, setVersion, sha256 } of change.activated ?? []) {
    const message: PolicyMessage = { v: 1, zone, setVersion, sha256, version: versions.get(zone) ?? 0 }
    messages.push({ stream: 'caracal.policy', aggregate: zone, payload: JSON.stringify(message) })
    activated.push(message)
  }
  for (const revocation of change.revocations ?? []) {
    messages.push({ stream: 'caracal.revocations', aggregate: revocation.zone, payload: JSON.stringify(revocation) })
  }
  for (const event of change.events) messages.push(desk.evidence({ ...frame, ...event }))
  await enqueue(tx, messages)
  return activated
}
