import { type BroadcastStream, STREAMS, type StreamName, type WorkStream } from '@caracal/core'
import { confirmMessages, type Database, keepUnconfirmed } from '@caracal/postgres'
import { sql } from 'kysely'
import { resendUnconfirmed } from './outbox-resend.ts'
import { backoff, pause } from './pause.ts'
import type { StreamLogger } from './stream-logger.ts'
import type { Streams } from './streams.ts'

export type OutboxDispatcherOptions = {
  readonly database: Database
  readonly streams: Streams
  readonly logger: StreamLogger
  /** Name of this dispatcher in its messages. */
  readonly producer: string
  readonly timing?: Partial<OutboxTiming>
}

/** Milliseconds. */
export type OutboxTiming = {
  /** For how long a claim keeps other dispatchers away; what a dispatcher that died had claimed goes to others then. */
  readonly leaseMs: number
  readonly firstRetryMs: number
  readonly mostRetryMs: number
  /** What the stream took and nobody confirmed is looked for after this long. */
  readonly resendMs: number
  /** Longest time between two looks: what another process wrote and did not live to publish is found then. */
  readonly lookMs: number
  /** Shortest time between two looks: what is written in quick succession is published together. */
  readonly gatherMs: number
  /** A further look so long after each that was asked for: another dispatcher may have held earlier rows of the same aggregates. */
  readonly againMs: number
}

export type OutboxHealth = { readonly pending: number; readonly oldestSeconds: number; readonly dead: number }

export type OutboxDispatcher = {
  health(): Promise<OutboxHealth>
  /** Finishes what it has claimed; the rest waits for the next dispatcher. */
  stop(): Promise<void>
}

type Row = { readonly id: number; readonly stream: string; readonly aggregate: string; readonly payload: string; readonly attempts: number }
type Failed = {
  readonly row: Row
  readonly error: unknown /** The first of its lane decides when the lane comes again. */
  readonly pauseMs: number
}

const BATCH = 500
/** One claim at a time, so that no two dispatchers hold rows of one aggregate. "caracalO" as a 64-bit number. */
const CLAIM_LOCK = (0x63617261n * 2n ** 32n + 0x63616c4fn).toString()
const TIMING: OutboxTiming = {
  leaseMs: 30_000,
  firstRetryMs: 100,
  mostRetryMs: 60_000,
  resendMs: 30_000,
  lookMs: 1_000,
  gatherMs: 5,
  againMs: 50,
}

/**
 * Publishes what transactions left in the outbox: in order per stream and aggregate, pipelined, at least once, for ever. Only
 * what can never be published is dead. Any number of dispatchers may run (P-116).
 */
export function startOutboxDispatcher(options: OutboxDispatcherOptions): OutboxDispatcher {
  const { database, streams, logger, producer } = options
  const timing = { ...TIMING, ...options.timing }
  const stopping = new AbortController()
  const { signal } = stopping
  let told = false
  let resendAt = performance.now() + timing.resendMs
  let wake: () => void = () => {}

  function notice(): void {
    told = true
    wake()
  }

  async function publish(rows: readonly Row[]): Promise<Failed[]> {
    const lanes = Map.groupBy(rows, (row) => (kindOf(row) === 'work' ? row.stream : `${row.stream}\0${row.aggregate}`))
    const failed = await Promise.all([...lanes.values()].map((lane) => (kindOf(lane[0]) === 'work' ? append(lane) : publishInTurn(lane))))
    return failed.flat()
  }

  /**
   * One work stream: everything in one go, and if that fails, all of it again. A stream store beside Postgres may lose what it took:
   * work is kept until it is confirmed.
   */
  async function append(lane: readonly Row[]): Promise<Failed[]> {
    const stream = lane[0]?.stream as WorkStream
    if (streams.driver !== 'postgres') {
      await keepUnconfirmed(
        database.query,
        lane.map(({ id }) => id),
      )
    }
    try {
      await streams.append(
        stream,
        lane.map(({ aggregate, payload }) => ({ partition: aggregate, payload })),
      )
      return []
    } catch (error) {
      return failure(lane, error)
    }
  }

  /** One aggregate of a broadcast stream: the rest waits for the one that fails. */
  async function publishInTurn(lane: readonly Row[]): Promise<Failed[]> {
    for (const [at, row] of lane.entries()) {
      try {
        await streams.publish(row.stream as BroadcastStream, row.payload)
      } catch (error) {
        return failure(lane.slice(at), error)
      }
    }
    return []
  }

  function failure(rows: readonly Row[], error: unknown): Failed[] {
    const pauseMs = backoff(rows[0]?.attempts ?? 0, timing.firstRetryMs, timing.mostRetryMs)
    return rows.map((row) => ({ row, error, pauseMs }))
  }

  async function finish(rows: readonly Row[]): Promise<void> {
    if (rows.length === 0) return
    await sql`DELETE FROM outbox WHERE id = ANY (${rows.map(({ id }) => id)}::bigint[])`.execute(database.query)
  }

  async function postpone(failed: readonly Failed[], storeIsAway: boolean): Promise<void> {
    await sql`
      UPDATE outbox SET attempts = attempts + 1, available_at = statement_timestamp() + pause * interval '1 millisecond'
      FROM unnest(
        ${failed.map(({ row }) => row.id)}::bigint[], ${failed.map(({ pauseMs }) => (storeIsAway ? 0 : pauseMs))}::float8[]
      ) AS again (failed, pause)
      WHERE id = failed`.execute(database.query)
    // They are still in the outbox, and kept anew when they go again.
    const work = failed.flatMap(({ row }) => (kindOf(row) === 'work' ? [row.payload] : []))
    if (streams.driver !== 'postgres') await confirmMessages(database.query, work)
  }

  /** A store that answers and takes nothing, full or read-only, is as good as away. */
  async function takesWrites(): Promise<boolean> {
    try {
      return (await streams.standing()).refuses === null
    } catch {
      return false
    }
  }

  /** While the store is away nobody's patience is used up: a revocation must not wait once it is back (P-175). */
  async function waitForStore(): Promise<void> {
    for (let attempt = 0; !signal.aborted && !(await takesWrites()); attempt += 1) await pause(backoff(attempt, 50, 500), signal)
  }

  async function bury(rows: readonly Row[]): Promise<void> {
    if (rows.length === 0) return
    logger.error({ producer, ids: rows.map((row) => row.id) }, 'messages of the outbox can never be published')
    await sql`UPDATE outbox SET dead_at = now(), dead_reason = 'the stream does not exist or the payload is empty'
      WHERE id = ANY (${rows.map((row) => row.id)}::bigint[])`.execute(database.query)
  }

  /** Returns whether there may be more. */
  async function round(): Promise<boolean> {
    const rows = await claim(database, timing.leaseMs)
    await bury(rows.filter((row) => !isDecodable(row)))
    const decodable = rows.filter(isDecodable)
    const failed = await publish(decodable)
    const again = new Set(failed.map(({ row }) => row.id))
    await finish(decodable.filter((row) => !again.has(row.id)))
    const [first] = failed
    if (!first) return rows.length === BATCH
    const storeIsAway = !(await takesWrites())
    logger.warn(
      { err: first.error, producer, messages: failed.length },
      'messages of the outbox could not be published; they are tried again',
    )
    await postpone(failed, storeIsAway)
    if (storeIsAway) await waitForStore()
    return storeIsAway
  }

  async function run(): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      try {
        const asked = told
        told = false
        while (!signal.aborted && (await round())) {}
        failures = 0
        await resend()
        if (told) await pause(timing.gatherMs, signal)
        else await idle(asked ? timing.againMs : timing.lookMs)
      } catch (error) {
        if (failures === 0) logger.warn({ err: error, producer }, 'the outbox cannot be read; trying again')
        await pause(backoff(failures, 100, 5_000), signal)
        failures += 1
      }
    }
  }

  /** Looked for a few times in that long. */
  async function resend(): Promise<void> {
    const now = performance.now()
    if (streams.driver === 'postgres' || now < resendAt) return
    resendAt = now + timing.resendMs / 4
    await resendUnconfirmed({ database, streams, logger, producer, resendMs: timing.resendMs })
  }

  function idle(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        wake = () => {}
        resolve()
      }
      const timer = setTimeout(done, ms).unref()
      wake = done
      if (signal.aborted) done()
    })
  }

  const deaf = database.onOutboxWritten(notice)
  const ended = run()
  return {
    health: () => outboxHealth(database),
    stop: async () => {
      stopping.abort()
      deaf()
      notice()
      await ended
    },
  }
}

/** So many of the oldest rows are looked at for some to claim; more when somebody else holds or has paused all of them. */
const FRONT = 5_000

/**
 * Leases the next rows, oldest first. A row waits while an earlier one of its stream and aggregate is leased or paused, so
 * order holds whoever publishes. The statement is all that a transaction covers: nothing is locked while publishing.
 */
async function claim(database: Database, leaseMs: number, front = FRONT): Promise<readonly Row[]> {
  const found = await database.transaction(async (tx) => {
    await sql`SELECT pg_advisory_xact_lock(${CLAIM_LOCK}::bigint)`.execute(tx)
    const { rows } = await sql<Row & { readonly looked: number }>`
      WITH front AS MATERIALIZED (
        SELECT id, stream, aggregate, available_at FROM outbox WHERE dead_at IS NULL ORDER BY id LIMIT ${front}
      ), held AS MATERIALIZED (
        SELECT stream, aggregate, min(id) AS first FROM front WHERE available_at > statement_timestamp() GROUP BY stream, aggregate
      ), free AS MATERIALIZED (
        SELECT front.id FROM front LEFT JOIN held USING (stream, aggregate)
        WHERE available_at <= statement_timestamp() AND (held.first IS NULL OR held.first > front.id)
        ORDER BY front.id LIMIT ${BATCH}
      ), claimed AS (
        UPDATE outbox SET available_at = statement_timestamp() + ${leaseMs} * interval '1 millisecond'
        FROM free WHERE outbox.id = free.id
        RETURNING outbox.id, outbox.stream, outbox.aggregate, outbox.payload, outbox.attempts
      )
      SELECT claimed.*, looked FROM (SELECT count(*) AS looked FROM front) AS front LEFT JOIN claimed ON true`.execute(tx)
    return rows
  })
  const rows = found.filter(({ id }) => id !== null)
  if (rows.length === 0 && (found[0]?.looked ?? 0) >= front) return await claim(database, leaseMs, front * 10)
  return rows.toSorted((a, b) => a.id - b.id)
}

/** What waits, for how long the oldest has waited, and what can never be published. */
export async function outboxHealth(database: Database): Promise<OutboxHealth> {
  const { rows } = await sql<OutboxHealth>`
    SELECT count(*) FILTER (WHERE dead_at IS NULL) AS pending, count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
           greatest(coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE dead_at IS NULL)), 0), 0)::float8 AS "oldestSeconds"
    FROM outbox`.execute(database.query)
  return rows[0] ?? { pending: 0, oldestSeconds: 0, dead: 0 }
}

function isDecodable(row: Row): boolean {
  return kindOf(row) !== undefined && row.payload !== ''
}

function kindOf(row: Row | undefined): 'broadcast' | 'work' | undefined {
  return row && Object.hasOwn(STREAMS, row.stream) ? STREAMS[row.stream as StreamName].kind : undefined
}
