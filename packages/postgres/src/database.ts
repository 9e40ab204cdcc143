import type { Kysely, Transaction } from 'kysely'
import type { ServiceRole } from './service-role.ts'
import type { Tables } from './tables.ts'

/** What a database reports to: connections that break and come back. pino's shape. */
export type DatabaseLogger = {
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Connections by what they do; `waiting` are requests for one. */
export type PoolState = { readonly max: number; readonly inUse: number; readonly idle: number; readonly waiting: number }

/** What every repository takes first: statements on their own, or within the caller's transaction. */
export type Queryable = Kysely<Tables> | Transaction<Tables>

/** Placeholders are `$1`, `$2`, …; the name is at most 63 characters. */
export type PreparedStatement = { readonly name: string; readonly text: string }

/** Postgres, embedded (PGlite) or a server: the same SQL, the same migrations. */
export type Database = {
  readonly kind: 'embedded' | 'server'
  /** Typed queries, each on its own connection. Throws inside `transaction`: there, every statement goes through `tx`. */
  readonly query: Kysely<Tables>
  /**
   * A statement that is the same each time, by itself on one connection, as `query`. A server parses and plans it once for each connection;
   * nothing is built here. The name stands for this text everywhere.
   */
  prepared<Row>(statement: PreparedStatement, values: readonly unknown[]): Promise<readonly Row[]>
  /** One transaction, read committed; rolled back when `work` throws. Embedded: one at a time, in the order they were asked for. */
  transaction<T>(work: (tx: Transaction<Tables>) => Promise<T>): Promise<T>
  /** The same database as a service has it: under its role, and of zones only what `inZone` names (P-132). Closing it closes this one. */
  as(service: ServiceRole): Database
  /** LISTEN that survives reconnects; `onReconnect` says that notifications may have been missed. */
  listen(channel: string, onNotify: (payload: string) => void, onReconnect: () => void): Promise<() => Promise<void>>
  /** Calls `listener` when something this object wrote to the outbox is committed. Returns what ends that. */
  onOutboxWritten(listener: () => void): () => void
  /** Statements sent so far: tests assert that the hot path sends none. */
  statements(): number
  /** Resolves when the server answers within two seconds; throws when it does not. */
  ping(): Promise<void>
  /**
   * From now on new connections are made with the user and password of this URL; those of the former end when what they do is done.
   * Rejects and changes nothing when it names another server or database, or when nobody can log in with it.
   */
  relogin(url: string): Promise<void>
  pool(): PoolState
  /** Calls `listener` with the seconds that each request for a connection of the pool took. One listener; the last one counts. */
  onConnectionWait(listener: (seconds: number) => void): void
  close(): Promise<void>
}
