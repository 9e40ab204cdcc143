import type { Kysely, Transaction } from 'kysely'
import type { Tables } from './tables.ts'

/** Postgres, embedded (PGlite) or a server: the same SQL, the same migrations. */
export type Database = {
  readonly kind: 'embedded' | 'server'
  /** Typed queries, each on its own connection. */
  readonly query: Kysely<Tables>
  /** One transaction, read committed; rolled back when `work` throws. Embedded: one at a time. */
  transaction<T>(work: (tx: Transaction<Tables>) => Promise<T>): Promise<T>
  /** LISTEN that survives reconnects; `onReconnect` says that notifications may have been missed. */
  listen(channel: string, onNotify: (payload: string) => void, onReconnect: () => void): Promise<() => Promise<void>>
  /** Statements sent so far: tests assert that the hot path sends none. */
  statements(): number
  /** Resolves when the server answers within two seconds; throws when it does not. */
  ping(): Promise<void>
  pool(): { readonly max: number; readonly inUse: number; readonly idle: number; readonly waiting: number }
  close(): Promise<void>
}
