import type { KeyRing, WorkStream } from '@caracal/core'
import type { Database } from '@caracal/postgres'
import { sql } from 'kysely'
import { readBroadcast } from './broadcast-reader.ts'
import { startHeartbeat } from './heartbeat.ts'
import { sealMessage } from './message-authentication.ts'
import { appendClaimingToPostgres, appendToPostgres, type WorkEntry } from './postgres-append.ts'
import { beatInPostgres, PostgresBroadcastReader, publishToPostgres, tipInPostgres } from './postgres-broadcast.ts'
import { postgresClaims } from './postgres-claims.ts'
import { nudgeReaders } from './postgres-nudge.ts'
import { standingOfPostgres } from './postgres-standing.ts'
import { keepUp } from './postgres-upkeep.ts'
import { listenForStreams } from './postgres-wake.ts'
import { healthInPostgres, postgresQuarantine, postgresWorkSource } from './postgres-work.ts'
import { fromStore } from './store-unavailable.ts'
import type { StreamLogger } from './stream-logger.ts'
import type { Streams, Subscription } from './streams.ts'
import { readWork, type WorkTiming } from './work-reader.ts'

export type PostgresStreamsOptions = {
  /** Migrated; stays open when the streams are closed. */
  readonly database: Database
  readonly keys: KeyRing
  readonly logger: StreamLogger
  readonly timing: WorkTiming
}

const LOOK_MS = 1_000

/** Tables and NOTIFY, with a look each second where no notification comes. One group per work stream; its name does not matter here. */
export function openPostgresStreams({ database, keys, logger, timing }: PostgresStreamsOptions): Streams {
  const wake = listenForStreams(database, logger)
  const claims = postgresClaims(database)
  const nudge = nudgeReaders(database)
  const running = new Set<Subscription>()
  let written = false
  const upkeep = keepUp(database, logger, () => {
    const before = written
    written = false
    return before
  })

  function owned(subscription: Subscription): Subscription {
    const own = {
      stop: async () => {
        running.delete(own)
        await subscription.stop()
      },
    }
    running.add(own)
    return own
  }

  function write<T>(call: () => Promise<T>): Promise<T> {
    written = true
    return fromStore(call)
  }

  function sealed(stream: WorkStream, messages: readonly { readonly partition: string; readonly payload: string }[]): readonly WorkEntry[] {
    return messages.map(({ partition, payload }) => {
      return { partition, payload, seal: sealMessage(keys, { stream, kind: 'work', partition, payload }) }
    })
  }

  return {
    driver: 'postgres',
    publish: (stream, payload) =>
      write(() => publishToPostgres(database, stream, payload, sealMessage(keys, { stream, kind: 'message', partition: '', payload }))),
    tip: (stream) => fromStore(() => tipInPostgres(database, stream)),
    subscribe: async (stream, from, subscriber) => {
      const reader = new PostgresBroadcastReader(database, stream)
      return owned(
        readBroadcast({
          stream,
          from,
          subscriber,
          keys,
          logger,
          read: async (position, signal) => {
            const count = wake.count(stream)
            const found = await reader.read(position)
            if ('gap' in found || found.messages.length > 0 || !found.caughtUp) return found
            await wake.until(stream, count, LOOK_MS, signal)
            return signal.aborted ? found : await reader.read(position)
          },
          interrupt: () => {}, // waiting ends with the signal
        }),
      )
    },
    heartbeat: (stream) => {
      const beat = (payload: string, seal: Parameters<typeof beatInPostgres>[3]) =>
        write(() => beatInPostgres(database, stream, payload, seal))
      return owned(startHeartbeat({ stream, keys, logger, beat }))
    },
    append: async (stream, messages) => {
      await write(() => appendToPostgres(database, stream, sealed(stream, messages)))
      nudge.committed(stream)
    },
    appendClaiming: async (stream, messages, claims) => {
      const lost = await write(() => appendClaimingToPostgres(database, stream, sealed(stream, messages), claims))
      if (lost.size === 0) nudge.committed(stream)
      return lost
    },
    consume: async (stream, consumer) => {
      const source = postgresWorkSource({ database, wake, stream, consumer: consumer.consumer, timing })
      return owned(readWork({ stream, source, consumer, keys, logger, timing }))
    },
    health: (stream) => fromStore(() => healthInPostgres(database, stream)),
    quarantine: postgresQuarantine(database),
    claim: (key, owner, ttl) => write(() => claims(key, owner, ttl)),
    release: async (key, owner) => {
      await write(() => sql`DELETE FROM stream_claims WHERE key = ${key} AND owner = ${owner}`.execute(database.query))
    },
    relogin: () => Promise.reject(new Error('streams on Postgres use its connections')),
    ping: () => fromStore(() => database.ping()),
    standing: () => fromStore(() => standingOfPostgres(database)),
    close: async () => {
      nudge.stop()
      await Promise.all([...running].map((subscription) => subscription.stop()))
      await upkeep.stop()
      await wake.stop()
    },
  }
}
