import type { Refusal, Result, UnixMillis, ZoneId } from '@caracal/core'
import { answerReceipts, enqueue, type Queryable } from '@caracal/postgres'
import type { Answer } from '@caracal/service'
import { announceRevocations } from '@caracal/streams'
import type { CoordinatorDesk } from '../desk.ts'
import { type Act, type Change, messagesOf } from './commit-change.ts'

type Desk = Pick<CoordinatorDesk, 'database' | 'streams' | 'evidence' | 'clock'>

/** What became of each that was asked for, in order. `later`: not here, it is done by itself. */
export type Together<A> = (
  tx: Queryable,
  zone: ZoneId,
  asked: readonly A[],
  now: UnixMillis,
) => Promise<readonly (Result<Change> | 'later')[]>

type Waiting<A> = {
  readonly act: Act
  readonly asked: A
  readonly resolve: (answer: Refusal | Answer | Promise<Refusal | Answer>) => void
  readonly reject: (error: unknown) => void
}

/** Changes in one transaction. More only make the first of them wait. */
const MOST_TOGETHER = 64

/**
 * Small changes that are asked for while others of their kind are written share the next transaction: one wait for the disk, and a
 * few statements, for all of them. Each still is all there or not at all with its evidence, messages and receipt (P-124), and what
 * one of them is refused for concerns no other. What has to wait for somebody else's lock is done `alone`, so that nobody waits
 * with it, and so is each of a transaction that Postgres refused.
 */
export function changesTogether<A>(
  desk: Desk,
  together: Together<A>,
  alone: (act: Act, asked: A) => Promise<Refusal | Answer>,
): (act: Act, asked: A) => Promise<Refusal | Answer> {
  const queues = new Map<ZoneId, Waiting<A>[]>()

  async function commit(zone: ZoneId, batch: readonly Waiting<A>[]): Promise<void> {
    try {
      const done = await desk.database.transaction(async (tx) => {
        const now = desk.clock()
        const results = await together(
          tx,
          zone,
          batch.map(({ asked }) => asked),
          now,
        )
        const changes = batch.flatMap(({ act }, at) => {
          const result = results[at]
          return result !== undefined && result !== 'later' && result.ok ? [{ act, change: result.value }] : []
        })
        await enqueue(
          tx,
          changes.flatMap(({ act, change }) => messagesOf(desk, act, change)),
        )
        const receipts = changes.flatMap(({ act, change }) => {
          const claim = act.request?.idempotency
          const { status, headers, body } = change.answer
          return claim ? [{ key: { principal: claim.scope, key: claim.key }, answer: { status, headers, body: JSON.stringify(body) } }] : []
        })
        await answerReceipts(tx, receipts, now)
        return { results, changes }
      })
      for (const { act } of done.changes) if (act.request?.idempotency) act.request.idempotency.settled = true
      await announceRevocations(
        desk.streams,
        done.changes.flatMap(({ change }) => change.revocations),
      )
      for (const [at, { act, asked, resolve }] of batch.entries()) {
        const result = done.results[at]
        if (result === undefined || result === 'later') resolve(alone(act, asked))
        else resolve(result.ok ? result.value.answer : result)
      }
    } catch (error) {
      // What Postgres refused did not happen; of anything else nobody knows, and it is not tried twice.
      const refused = isRefusedByPostgres(error)
      for (const { act, asked, resolve, reject } of batch) refused ? resolve(alone(act, asked)) : reject(error)
    }
  }

  async function work(zone: ZoneId, queue: Waiting<A>[]): Promise<void> {
    while (queue.length > 0) {
      // What arrived with it comes along.
      await new Promise((resolve) => setImmediate(resolve))
      await commit(zone, queue.splice(0, MOST_TOGETHER))
    }
    queues.delete(zone)
  }

  return (act, asked) =>
    new Promise((resolve, reject) => {
      const waiting = { act, asked, resolve, reject }
      const queue = queues.get(act.zone)
      if (queue !== undefined) {
        queue.push(waiting)
        return
      }
      const started = [waiting]
      queues.set(act.zone, started)
      void work(act.zone, started)
    })
}

/** Classes of SQLSTATE that say that a statement of this transaction failed: data, constraints, a deadlock, a limit of time. */
function isRefusedByPostgres(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && /^(?:22|23|40|P0)...$|^55P03$/.test(error.code)
}
