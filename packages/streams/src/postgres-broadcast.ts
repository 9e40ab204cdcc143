import { randomUUID } from 'node:crypto'
import type { BroadcastStream } from '@caracal/core'
import type { Database } from '@caracal/postgres'
import { sql } from 'kysely'
import type { BroadcastRead, SealedBroadcast } from './broadcast-reader.ts'
import type { Seal } from './message-authentication.ts'
import { WAKE_CHANNEL } from './postgres-wake.ts'
import type { Position } from './streams.ts'

const PAGE = 500
const BEAT_DISTANCE = '800 milliseconds'

/** Number of the last message, epoch of the stream. */
type Place = { readonly seq: number; readonly epoch: string }

/** One statement: the head row is locked from here to the commit, so numbers become visible in order and without holes. */
export async function publishToPostgres(database: Database, stream: BroadcastStream, payload: string, seal: Seal): Promise<Position> {
  const { rows } = await sql<Place>`
    WITH head AS (
      INSERT INTO stream_heads (stream, epoch, seq) VALUES (${stream}, ${randomUUID()}, 1)
      ON CONFLICT (stream) DO UPDATE SET seq = stream_heads.seq + 1
      RETURNING seq, epoch
    ), added AS (
      INSERT INTO stream_broadcasts (stream, seq, payload, key_id, mac)
      SELECT ${stream}, seq, ${payload}, ${seal.key}, ${seal.mac} FROM head
    )
    SELECT seq, epoch, pg_notify(${WAKE_CHANNEL}, ${stream}) FROM head`.execute(database.query)
  return format(only(rows))
}

/** Several processes may send the heartbeat of one stream: one each second is enough. */
export async function beatInPostgres(database: Database, stream: BroadcastStream, payload: string, seal: Seal): Promise<void> {
  await sql`
    WITH beat AS (
      INSERT INTO stream_heads AS head (stream, epoch, seq, beat_at, beat, beat_key, beat_mac)
      VALUES (${stream}, ${randomUUID()}, 0, clock_timestamp(), ${payload}, ${seal.key}, ${seal.mac})
      ON CONFLICT (stream) DO UPDATE
        SET beat_at = excluded.beat_at, beat = excluded.beat, beat_key = excluded.beat_key, beat_mac = excluded.beat_mac
        WHERE head.beat_at <= excluded.beat_at - ${BEAT_DISTANCE}::interval OR head.beat_at > excluded.beat_at
      RETURNING stream
    )
    SELECT pg_notify(${WAKE_CHANNEL}, stream) FROM beat`.execute(database.query)
}

export async function tipInPostgres(database: Database, stream: BroadcastStream): Promise<Position> {
  const { rows } = await sql<Place>`
    INSERT INTO stream_heads (stream, epoch, seq) VALUES (${stream}, ${randomUUID()}, 0)
    ON CONFLICT (stream) DO UPDATE SET seq = stream_heads.seq
    RETURNING seq, epoch`.execute(database.query)
  return format(only(rows))
}

type Row = {
  readonly head: number
  readonly epoch: string
  readonly beat: string | null
  readonly beat_key: string | null
  readonly beat_mac: string | null
  readonly seq: number | null
  readonly payload: string | null
  readonly key_id: string | null
  readonly mac: string | null
}

/** Reads one stream; remembers the last heartbeat, so that one that was there before is not taken for a new one. */
export class PostgresBroadcastReader {
  readonly #database: Database
  readonly #stream: BroadcastStream
  #lastBeat: string | null | undefined

  constructor(database: Database, stream: BroadcastStream) {
    this.#database = database
    this.#stream = stream
  }

  /** What stands after the position now; does not wait. */
  async read(position: Position): Promise<BroadcastRead> {
    const place = parse(position)
    // One statement, so head and messages are of one moment.
    const { rows } = await sql<Row>`
      SELECT head.seq AS head, head.epoch, head.beat, head.beat_key, head.beat_mac,
             message.seq, message.payload, message.key_id, message.mac
      FROM stream_heads head
      LEFT JOIN LATERAL (
        SELECT * FROM stream_broadcasts b WHERE b.stream = head.stream AND b.seq > ${place.seq} ORDER BY b.seq LIMIT ${PAGE}
      ) message ON true
      WHERE head.stream = ${this.#stream}
      ORDER BY message.seq`.execute(this.#database.query)
    const [first] = rows
    if (!first) return position === '' ? { messages: [], caughtUp: true } : { gap: 'the stream is gone', resume: '' }
    if (place.epoch !== '' && place.epoch !== first.epoch)
      return { gap: 'the stream began anew', resume: format({ epoch: first.epoch, seq: 0 }) }
    if (first.head < place.seq) return { gap: 'the stream was set back', resume: format({ epoch: first.epoch, seq: first.head }) }

    const expected = place.seq + 1
    if ((first.seq ?? first.head + 1) !== expected) {
      return { gap: `message ${expected} is missing`, resume: format({ epoch: first.epoch, seq: (first.seq ?? first.head + 1) - 1 }) }
    }
    const messages: SealedBroadcast[] = []
    let last = place.seq
    for (const { seq, epoch, payload, key_id: key, mac } of rows) {
      if (seq === null || seq !== last + 1) break // nothing, or the next read begins with a gap
      messages.push({ position: format({ seq, epoch }), kind: 'message', payload: payload ?? '', seal: { key: key ?? '', mac: mac ?? '' } })
      last = seq
    }
    const caughtUp = last === first.head
    const beat = this.#newBeat(first)
    if (beat && caughtUp) messages.push({ ...beat, position: format({ seq: last, epoch: first.epoch }) })
    return { messages, caughtUp }
  }

  #newBeat({ beat, beat_key: key, beat_mac: mac }: Row): Omit<SealedBroadcast, 'position'> | undefined {
    const before = this.#lastBeat
    this.#lastBeat = beat
    if (beat === null || before === undefined || beat === before) return undefined
    return { kind: 'heartbeat', payload: beat, seal: { key: key ?? '', mac: mac ?? '' } }
  }
}

function only<T>(rows: readonly T[]): T {
  const [row] = rows
  if (row === undefined) throw new Error('the statement returned no row')
  return row
}

function format({ seq, epoch }: Place): Position {
  return `${seq}/${epoch}`
}

function parse(position: Position): Place {
  const [seq = '0', epoch = ''] = position.split('/')
  return { seq: Number(seq), epoch }
}
