import { randomUUID } from 'node:crypto'
import type { BroadcastStream } from '@caracal/core'
import type { Redis } from 'ioredis'
import type { BroadcastRead, SealedBroadcast } from './broadcast-reader.ts'
import type { Seal } from './message-authentication.ts'
import { unlessAborted } from './pause.ts'
import { BLOCK_MS } from './redis-connection.ts'
import { named } from './redis-reply.ts'
import { BEAT, LOOK, PUBLISH, TIP } from './redis-scripts.ts'
import type { Position } from './streams.ts'

/** Messages are kept for longer than any mandate lives. */
const KEEP_MS = 30 * 60_000
/** Several processes may send the heartbeat of one stream: one each second is enough. */
const BEAT_DISTANCE_MS = 800
const PAGE = 500

/** Entry id, number of the last message, epoch of the stream. */
type Place = { readonly id: string; readonly count: number; readonly epoch: string }

export async function publishToRedis(redis: Redis, stream: BroadcastStream, payload: string, seal: Seal): Promise<Position> {
  const [id, count, epoch] = (await redis.eval(PUBLISH, 2, ...keys(stream), randomUUID(), KEEP_MS, payload, seal.key, seal.mac)) as [
    string,
    number,
    string,
  ]
  return format({ id, count, epoch })
}

export async function beatInRedis(redis: Redis, stream: BroadcastStream, payload: string, seal: Seal): Promise<void> {
  await redis.eval(BEAT, 2, ...keys(stream), randomUUID(), BEAT_DISTANCE_MS, payload, seal.key, seal.mac)
}

export async function tipInRedis(redis: Redis, stream: BroadcastStream): Promise<Position> {
  const [id, count, epoch] = (await redis.eval(TIP, 2, ...keys(stream), randomUUID())) as [string, number, string]
  return format({ id, count, epoch })
}

/** Reads on. `blocking` waits for messages, `redis` answers questions in between. */
export async function readFromRedis(
  { blocking, redis }: { readonly blocking: Redis; readonly redis: Redis },
  stream: BroadcastStream,
  position: Position,
  signal: AbortSignal,
): Promise<BroadcastRead> {
  const place = parse(position)
  const reply = (await unlessAborted(blocking.xread('COUNT', PAGE, 'BLOCK', BLOCK_MS, 'STREAMS', stream, place.id), signal)) as
    | [string, [string, string[]][]][]
    | null
  const entries = reply?.[0]?.[1] ?? []
  if (entries.length === 0) return await look(redis, stream, place)

  const messages: SealedBroadcast[] = []
  let at = place
  for (const [id, fields] of entries) {
    const { e: epoch = '', n = '', h, p: payload = '', k: key = '', m: mac = '' } = named(fields)
    const heartbeat = h === '1'
    const count = Number(n)
    const next = at.count + (heartbeat ? 0 : 1)
    const known = at.epoch === '' || at.epoch === epoch
    if (!known || count !== next) {
      if (messages.length > 0) break // the next read begins with it
      const resume = format({ id: at.id, count: heartbeat ? count : count - 1, epoch })
      return { gap: known ? `message ${next} is missing` : 'the stream began anew', resume }
    }
    at = { id, count, epoch }
    messages.push({ position: format(at), kind: heartbeat ? 'heartbeat' : 'message', payload, seal: { key, mac } })
  }
  return { messages, caughtUp: messages.length < PAGE && messages.length === entries.length }
}

/** Nothing came: is there really nothing, or has the stream been flushed, trimmed, or set back by a failover? */
async function look(redis: Redis, stream: BroadcastStream, place: Place): Promise<BroadcastRead> {
  const [more, id, count, epoch] = (await redis.eval(LOOK, 2, ...keys(stream), randomUUID(), place.id)) as [number, string, number, string]
  const resume = format({ id, count, epoch })
  if (more > 0) return { messages: [], caughtUp: false }
  if (place.epoch !== '' && place.epoch !== epoch) return { gap: 'the stream began anew', resume }
  if (count !== place.count) return { gap: 'messages are missing at the end of the stream', resume }
  if (isBefore(id, place.id)) return { gap: 'the stream was set back', resume }
  return { messages: [], caughtUp: true }
}

/** The braces put both keys in one slot of a cluster. */
function keys(stream: BroadcastStream): [string, string] {
  return [stream, `{${stream}}:head`]
}

function format({ id, count, epoch }: Place): Position {
  return `${id}/${count}/${epoch}`
}

function parse(position: Position): Place {
  const [id = '', count = '0', epoch = ''] = position.split('/')
  return { id: id === '' ? '0-0' : id, count: Number(count), epoch }
}

function isBefore(left: string, right: string): boolean {
  const [leftMs = 0, leftSeq = 0] = left.split('-').map(Number)
  const [rightMs = 0, rightSeq = 0] = right.split('-').map(Number)
  return leftMs < rightMs || (leftMs === rightMs && leftSeq < rightSeq)
}
