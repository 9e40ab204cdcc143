import type { BroadcastStream, UnixMillis, WorkStream } from '@caracal/core'
import type { StoreReason } from './store-unavailable.ts'
import type { Claim } from './wanted-claim.ts'

/** A place in one stream, opaque to callers, ordered within the stream. `''` is before the first message. */
export type Position = string

export type BroadcastMessage = { readonly position: Position; readonly payload: string }

export type BroadcastSubscriber = {
  /** Called in order, one at a time; a promise holds back the next. A throw is logged and the message counted as seen. */
  readonly onMessage: (message: BroadcastMessage) => void | Promise<void>
  /** Something may be missing between what was seen and what comes (trimmed, flushed, failed over): load a snapshot anew. */
  readonly onGap: (reason: string) => void | Promise<void>
  /** Proof of life: a heartbeat or message of the stream arrived just now. */
  readonly onAlive?: () => void
}

export type Subscription = { readonly stop: () => Promise<void> }

export type WorkMessage = {
  readonly position: Position
  /** Key that messages are ordered by. */
  readonly partition: string
  readonly payload: string
  /** Deliveries so far, this one included. */
  readonly deliveries: number
}

/** What became of a message: `done` acknowledges, `quarantine` sets it aside at once, `retry` hands it out again later. */
export type WorkOutcome = 'done' | 'retry' | { readonly quarantine: string }

export type WorkConsumer = {
  readonly group: string
  readonly consumer: string
  /** Most messages of a batch; large ones make it shorter. */
  readonly batch: number
  /**
   * What arrives within this time after a batch was taken is taken together, so that a steady stream comes in few large batches;
   * after a pause the first message is taken at once. Milliseconds, 0 unless said otherwise.
   */
  readonly gatherMs?: number
  /** One outcome for each message, in order. A throw is `retry` for all and counts no try when `isOutage` says so. */
  readonly handle: (messages: readonly WorkMessage[]) => Promise<readonly WorkOutcome[]>
  /** Whether an error means that a dependency is away: reading pauses with backoff and nothing is quarantined (P-113). */
  readonly isOutage?: (error: unknown) => boolean
}

export type Quarantined = {
  readonly id: string
  readonly stream: WorkStream
  readonly partition: string
  readonly payload: string
  readonly reason: string
  readonly at: number
}

export type StreamHealth = { readonly lag: number; readonly oldestPendingSeconds: number; readonly quarantined: number }

/** What the store behind the streams says of itself. */
export type StoreStanding = {
  /** Its clock. */
  readonly at: UnixMillis
  /** Why it takes no change at the moment; null when it takes them. */
  readonly refuses: Exclude<StoreReason, 'store_unavailable'> | null
  /** Part of its memory limit that is in use; null where it has none. */
  readonly usedRatio: number | null
  /** What a Redis says of its memory; null for another store. */
  readonly memory: StoreMemory | null
}

/** Bytes, and keys that were thrown away to make room. */
export type StoreMemory = {
  readonly usedBytes: number
  /** 0 = no limit. */
  readonly limitBytes: number
  readonly evictedKeys: number
  /** It refuses writes rather than throw something away. */
  readonly noEviction: boolean
}

/**
 * Broadcast streams (every replica reads all, from its own position) and work streams (one group, acknowledged),
 * over Redis or Postgres. Every message is authenticated; one that is not is quarantined (work) or reported and skipped (broadcast).
 */
export type Streams = {
  readonly driver: 'redis' | 'postgres'

  /** Appends and returns the position. Resolves when the store has it. */
  publish(stream: BroadcastStream, payload: string): Promise<Position>
  /** Where the stream ends now. Take it before a snapshot, then subscribe from it: no gap (P-057). */
  tip(stream: BroadcastStream): Promise<Position>
  /** Delivers everything after `from`, survives reconnects, and says when it cannot prove that nothing is missing. */
  subscribe(stream: BroadcastStream, from: Position, subscriber: BroadcastSubscriber): Promise<Subscription>
  /** One heartbeat a second on a broadcast stream, from every process that calls it. */
  heartbeat(stream: BroadcastStream): Subscription

  /** Appends in order, pipelined; resolves when the store has all of them. */
  append(stream: WorkStream, messages: readonly { readonly partition: string; readonly payload: string }[]): Promise<void>
  /**
   * Appends and claims in one commit: all of it, or of the messages nothing when somebody else has one of the keys. Returns the keys that
   * others have; what could be claimed is claimed then, as by `claim`. No key may stand twice. Only where claims and messages are in
   * one store that commits (Postgres).
   */
  readonly appendClaiming?:
    | ((
        stream: WorkStream,
        messages: readonly { readonly partition: string; readonly payload: string }[],
        claims: readonly Claim[],
      ) => Promise<ReadonlySet<string>>)
    | undefined
  consume(stream: WorkStream, consumer: WorkConsumer): Promise<Subscription>
  health(stream: WorkStream): Promise<StreamHealth>
  quarantine: {
    list(stream: WorkStream, limit: number): Promise<readonly Quarantined[]>
    redrive(stream: WorkStream, id: string): Promise<boolean>
    discard(stream: WorkStream, id: string): Promise<boolean>
  }

  /**
   * One atomic set-if-absent shared by all replicas (P-017): `true` when `owner` has the key now, also when it had it before
   * (a driver's retry is not a replay); `false` when somebody else has it. Forgotten after `ttl` seconds.
   */
  claim(key: string, owner: string, ttl: number): Promise<boolean>
  /** Gives a claim back if `owner` still has it. */
  release(key: string, owner: string): Promise<void>

  /** Resolves when the store answers; throws when it does not. */
  ping(): Promise<void>
  /**
   * New connections are made with the user and password of this URL. Rejects and changes nothing when it names another server, when
   * nobody can log in with it, or where the streams have no connections of their own.
   */
  relogin(url: string): Promise<void>
  /** Asks the store for its clock, its memory and whether it takes a change; throws when it does not answer. */
  standing(): Promise<StoreStanding>
  close(): Promise<void>
}
