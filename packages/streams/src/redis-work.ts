import type { WorkStream } from '@caracal/core'
import type { ChainableCommander, Redis } from 'ioredis'
import type { Seal } from './message-authentication.ts'
import { unlessAborted } from './pause.ts'
import { BLOCK_MS } from './redis-connection.ts'
import { quarantineKey } from './redis-quarantine.ts'
import { named } from './redis-reply.ts'
import { SET_ASIDE, TRIM } from './redis-scripts.ts'
import type { StreamHealth } from './streams.ts'
import type { SealedWork, Settlement, WorkSource, WorkTiming } from './work-reader.ts'

const CHUNK = 500
const TRIM_EVERY_MS = 1_000
/** A consumer that is gone for this long and owes nothing is forgotten (P-114). */
const FORGET_MS = 3_600_000

export type WorkEntry = { readonly partition: string; readonly payload: string; readonly seal: Seal }

/** Each chunk arrives whole or not at all, and a chunk only after the one before it. */
export async function appendToRedis(redis: Redis, stream: WorkStream, entries: readonly WorkEntry[]): Promise<void> {
  const [only] = entries
  if (only && entries.length === 1) {
    await redis.xadd(stream, '*', ...fieldsOf(only))
    return
  }
  for (let from = 0; from < entries.length; from += CHUNK) {
    const multi = redis.multi()
    for (const entry of entries.slice(from, from + CHUNK)) multi.xadd(stream, '*', ...fieldsOf(entry))
    await executed(multi)
  }
}

function fieldsOf({ partition, payload, seal }: WorkEntry): string[] {
  return ['t', partition, 'p', payload, 'k', seal.key, 'm', seal.mac]
}

/** Runs a pipeline and throws the first error in it. */
async function executed(multi: ChainableCommander): Promise<void> {
  for (const [error] of (await multi.exec()) ?? []) if (error) throw error
}

type Options = {
  readonly redis: Redis
  readonly blocking: Redis
  readonly stream: WorkStream
  readonly group: string
  readonly consumer: string
  readonly timing: WorkTiming
}

/** One consumer of the group. The group is made where it is missing, always from the first entry on (P-114). */
export class RedisWorkSource implements WorkSource {
  readonly #options: Options
  /** Ours, to be tried again at that time. */
  readonly #waiting = new Map<string, { readonly message: SealedWork; readonly dueAt: number }>()
  #joined = false
  #reclaimAt = 0
  #trimAt = 0
  #forgetAt = 0

  constructor(options: Options) {
    this.#options = options
  }

  async take(max: number, signal: AbortSignal): Promise<readonly SealedWork[]> {
    try {
      if (!this.#joined) await this.#join()
      await this.#tidy()
      const again = await this.#due(max)
      if (again.length > 0) return again
      const reclaimed = await this.#reclaim(max)
      if (reclaimed.length > 0) return reclaimed
      return await this.#fresh(max, signal)
    } catch (error) {
      if (error instanceof Error && error.message.startsWith('NOGROUP')) this.#joined = false
      throw error
    }
  }

  async keep(messages: readonly SealedWork[]): Promise<void> {
    const { redis, stream, group, consumer } = this.#options
    await redis.call('XCLAIM', stream, group, consumer, 0, ...ids(messages), 'JUSTID')
  }

  async settle({ done, retry, quarantine }: Settlement): Promise<void> {
    const { redis, stream, group } = this.#options
    const pipeline = redis.pipeline()
    if (done.length > 0) pipeline.xack(stream, group, ...ids(done))
    for (const { message, reason } of quarantine) {
      pipeline.eval(SET_ASIDE, 2, stream, quarantineKey(stream), group, message.position, ...fieldsOf(message), 'r', reason)
    }
    if (pipeline.length > 0) await executed(pipeline)
    for (const { message, afterMs } of retry) this.#waiting.set(message.position, { message, dueAt: performance.now() + afterMs })
  }

  async surrender(messages: readonly SealedWork[]): Promise<void> {
    const { redis, stream, group, consumer, timing } = this.#options
    const pipeline = redis.pipeline()
    for (const { position, deliveries } of messages) {
      pipeline.call('XCLAIM', stream, group, consumer, 0, position, 'IDLE', timing.reclaimMs, 'RETRYCOUNT', deliveries - 1, 'JUSTID')
    }
    if (messages.length > 0) await executed(pipeline)
  }

  interrupt(): void {
    this.#options.blocking.disconnect()
  }

  /** What waits for another try goes to whoever is still there. */
  async leave(): Promise<void> {
    const { redis, stream, group, consumer, timing } = this.#options
    const waiting = [...this.#waiting.keys()]
    if (waiting.length > 0) await redis.call('XCLAIM', stream, group, consumer, 0, ...waiting, 'IDLE', timing.reclaimMs, 'JUSTID')
  }

  async #join(): Promise<void> {
    const { redis, stream, group } = this.#options
    try {
      await redis.xgroup('CREATE', stream, group, '0', 'MKSTREAM')
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('BUSYGROUP'))) throw error
    }
    this.#joined = true
  }

  async #fresh(max: number, signal: AbortSignal): Promise<readonly SealedWork[]> {
    const { blocking, stream, group, consumer } = this.#options
    const reply = (await unlessAborted(
      blocking.xreadgroup('GROUP', group, consumer, 'COUNT', max, 'BLOCK', this.#blockFor(), 'STREAMS', stream, '>'),
      signal,
    )) as [string, [string, string[]][]][] | null
    return (reply?.[0]?.[1] ?? []).map((entry) => toMessage(entry, 1))
  }

  #blockFor(): number {
    const { timing } = this.#options
    let until = Math.min(BLOCK_MS, timing.reclaimMs / 3)
    for (const { dueAt } of this.#waiting.values()) until = Math.min(until, dueAt - performance.now())
    return Math.max(1, Math.ceil(until))
  }

  async #due(max: number): Promise<readonly SealedWork[]> {
    const now = performance.now()
    const due: SealedWork[] = []
    for (const { message, dueAt } of this.#waiting.values()) if (dueAt <= now && due.length < max) due.push(message)
    if (due.length === 0) return []
    const claimed = await this.#claim(
      due.map(({ position, deliveries }) => ({ id: position, deliveries: deliveries + 1 })),
      0,
    )
    for (const { position } of due) this.#waiting.delete(position)
    return claimed
  }

  async #reclaim(max: number): Promise<readonly SealedWork[]> {
    const { redis, stream, group, timing } = this.#options
    if (performance.now() < this.#reclaimAt) return []
    const idle = (await redis.xpending(stream, group, 'IDLE', timing.reclaimMs, '-', '+', max)) as [string, string, number, number][]
    if (idle.length < max) this.#reclaimAt = performance.now() + timing.reclaimMs / 3
    if (idle.length === 0) return []
    for (const [id] of idle) this.#waiting.delete(id)
    return await this.#claim(
      idle.map(([id, , , delivered]) => ({ id, deliveries: delivered + 1 })),
      timing.reclaimMs,
    )
  }

  /** Only what is idle for that long, so that of two consumers one gets it. */
  async #claim(wanted: readonly { readonly id: string; readonly deliveries: number }[], idleMs: number): Promise<readonly SealedWork[]> {
    const { redis, stream, group, consumer } = this.#options
    const deliveries = new Map(wanted.map((want) => [want.id, want.deliveries]))
    const entries = (await redis.call('XCLAIM', stream, group, consumer, idleMs, ...deliveries.keys())) as ([string, string[]] | null)[]
    return entries.flatMap((entry) => (entry ? [toMessage(entry, deliveries.get(entry[0]) ?? 1)] : []))
  }

  async #tidy(): Promise<void> {
    const { redis, stream, group, consumer } = this.#options
    const now = performance.now()
    if (now < this.#trimAt) return
    this.#trimAt = now + TRIM_EVERY_MS
    await redis.eval(TRIM, 1, stream)
    if (now < this.#forgetAt) return
    this.#forgetAt = now + FORGET_MS
    for (const fields of (await redis.xinfo('CONSUMERS', stream, group)) as string[][]) {
      const { name, pending, idle } = named(fields)
      if (name !== undefined && name !== consumer && Number(pending) === 0 && Number(idle) > FORGET_MS) {
        await redis.xgroup('DELCONSUMER', stream, group, name)
      }
    }
  }
}

/** Lag of the slowest group; without a group everything waits. */
export async function healthInRedis(redis: Redis, stream: WorkStream): Promise<StreamHealth> {
  const quarantined = await redis.xlen(quarantineKey(stream))
  if ((await redis.exists(stream)) === 0) return { lag: 0, oldestPendingSeconds: 0, quarantined }
  const groups = (await redis.xinfo('GROUPS', stream)) as (string | number | null)[][]
  if (groups.length === 0) {
    return { lag: await redis.xlen(stream), oldestPendingSeconds: await ageOfFirst(redis, stream, '-'), quarantined }
  }
  let lag = 0
  let oldest = 0
  for (const fields of groups) {
    const group = named(fields.map(String))
    const pending = Number(group.pending ?? 0)
    const after = `(${group['last-delivered-id'] ?? '0-0'}`
    // Redis does not know the lag after an entry was deleted in the middle; then it is counted.
    const unread = group.lag === 'null' ? ((await redis.xrange(stream, after, '+')) as unknown[]).length : Number(group.lag ?? 0)
    lag = Math.max(lag, pending + unread)
    const first = pending > 0 ? (((await redis.xpending(stream, group.name ?? '')) as [number, string])[1] ?? '-') : after
    oldest = Math.max(oldest, await ageOfFirst(redis, stream, first))
  }
  return { lag, oldestPendingSeconds: oldest, quarantined }
}

/** Age of the first entry from that id on, in seconds, by the clock of Redis; 0 when there is none. */
async function ageOfFirst(redis: Redis, stream: WorkStream, from: string): Promise<number> {
  const [first] = await redis.xrange(stream, from, '+', 'COUNT', 1)
  if (!first) return 0
  const [seconds, micros] = await redis.time()
  return Math.max(0, Number(seconds) + Number(micros) / 1e6 - Number(first[0].split('-')[0]) / 1000)
}

function toMessage([id, fields]: [string, string[]], deliveries: number): SealedWork {
  const { t: partition = '', p: payload = '', k: key = '', m: mac = '' } = named(fields)
  return { position: id, partition, payload, deliveries, seal: { key, mac } }
}

function ids(messages: readonly SealedWork[]): string[] {
  return messages.map((message) => message.position)
}
