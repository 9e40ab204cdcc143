import { PGlite } from '@electric-sql/pglite'
import { CompiledQuery, Kysely, type LogEvent, PGliteDialect, PostgresDialect, sql } from 'kysely'
import type pg from 'pg'
import type { Database, DatabaseLogger, PreparedStatement } from './database.ts'
import { PARSERS, PG_TYPES } from './driver-types.ts'
import { copyTemplate } from './embedded-template.ts'
import { Listener } from './listener.ts'
import { outboxSignal, whenOutboxWritten } from './outbox-signal.ts'
import { canLogIn, openPools, poolState } from './pools.ts'
import { scopedEmbedded } from './scoped-embedded.ts'
import { scopedPool } from './scoped-server.ts'
import { sameServer, serverUrl } from './server-url.ts'
import type { ServiceRole } from './service-role.ts'
import type { Tables } from './tables.ts'
import { inOwnContext, transactionScope } from './transaction-scope.ts'

/** Where the data is: a server, a folder of an embedded Postgres, or memory (gone at close). */
export type DatabaseLocation =
  | {
      readonly url: string
      readonly pool?: number
      readonly application?: string
      /** How long a statement waits for a connection, of the pool or a new one. Milliseconds; 5 000. */
      readonly connectWithin?: number
    }
  | { readonly dataDir: string }
  | { readonly memory: true }

/** Limits of every session, in milliseconds (P-134). */
export const SESSION_LIMITS = { statement: 15_000, lock: 5_000, idleInTransaction: 30_000, connect: 5_000 } as const

const PING_LIMIT_MS = 2_000
const DEFAULT_POOL = 10

const SILENT: DatabaseLogger = { warn: () => {}, error: () => {} }

/**
 * Opens Postgres. A server is connected to lazily: an unreachable one shows at the first statement and in `ping`.
 * The embedded one is started here. Nothing is migrated.
 */
export async function openDatabase(location: DatabaseLocation, options: { readonly logger?: DatabaseLogger } = {}): Promise<Database> {
  const logger = options.logger ?? SILENT
  if ('url' in location) return openServer(location, logger)
  if ('memory' in location) return await openEmbedded('memory://')
  copyTemplate(location.dataDir)
  return await openEmbedded(location.dataDir)
}

function openServer(location: Extract<DatabaseLocation, { url: string }>, logger: DatabaseLogger): Database {
  const application = location.application ?? 'caracal'
  const max = location.pool ?? DEFAULT_POOL
  const within = location.connectWithin ?? SESSION_LIMITS.connect
  const pools = openPools(clientSettings(location.url, application, within), max, logger)
  const listener = new Listener(clientSettings(location.url, application, within), logger)
  return assemble('server', new PostgresDialect({ pool: pools.pool }), {
    as: (service) => new PostgresDialect({ pool: scopedPool(() => pools.pool.connect(), service) }),
    prepared: async ({ name, text }, values) => {
      const client = (await pools.pool.connect()) as unknown as pg.PoolClient
      try {
        return (await client.query({ name, text, values: [...values] })).rows
      } finally {
        client.release()
      }
    },
    listen: (channel, onNotify, onReconnect) => listener.listen(channel, onNotify, onReconnect),
    relogin: async (url) => {
      if (!sameServer(location.url, url)) throw new Error('only the user and the password can change while it runs')
      const settings = clientSettings(url, application, within)
      await canLogIn(settings)
      pools.replace(settings)
      listener.relogin(settings)
    },
    pool: () => poolState(pools.now(), max),
    onConnectionWait: pools.onWait,
    close: async (kysely) => {
      await listener.close()
      await kysely.destroy()
      await pools.end()
    },
  })
}

function clientSettings(url: string, application: string, within: number): pg.ClientConfig {
  return {
    connectionString: serverUrl(url),
    application_name: application,
    connectionTimeoutMillis: within,
    statement_timeout: SESSION_LIMITS.statement,
    lock_timeout: SESSION_LIMITS.lock,
    idle_in_transaction_session_timeout: SESSION_LIMITS.idleInTransaction,
    keepAlive: true,
    types: PG_TYPES,
  }
}

async function openEmbedded(dataDir: string): Promise<Database> {
  const pglite = await PGlite.create({ dataDir, parsers: PARSERS })
  let open = 0
  const database = assemble('embedded', new PGliteDialect({ pglite }), {
    as: (service) => new PGliteDialect({ pglite: scopedEmbedded(pglite, service) }),
    listen: async (channel, onNotify) => {
      const notify = inOwnContext(onNotify)
      // Delivered while the notifying statement returns: let that finish first.
      return await pglite.listen(channel, (payload) => queueMicrotask(() => notify(payload)))
    },
    relogin: () => Promise.reject(new Error('the embedded database has no login')),
    pool: () => ({ max: 1, inUse: Math.min(open, 1), idle: open === 0 ? 1 : 0, waiting: Math.max(open - 1, 0) }),
    onConnectionWait: () => {}, // there is one, and who uses it is first in line
    close: async (kysely) => {
      await kysely.destroy()
      if (!pglite.closed) await pglite.close()
    },
  })
  const counted = (one: Database): Database => ({
    ...one,
    transaction: async (work) => {
      open += 1
      try {
        return await one.transaction(work)
      } finally {
        open -= 1
      }
    },
    as: (service) => counted(one.as(service)),
  })
  return counted(database)
}

type Dialect = PostgresDialect | PGliteDialect
type Parts = Pick<Database, 'listen' | 'pool' | 'relogin' | 'onConnectionWait'> & {
  readonly as: (service: ServiceRole) => Dialect
  readonly close: (kysely: Kysely<Tables>) => Promise<void>
  /** Where the server keeps statements by name, for whoever is no service's view. */
  readonly prepared?: (statement: PreparedStatement, values: readonly unknown[]) => Promise<unknown[]>
}

function assemble(kind: Database['kind'], dialect: Dialect, parts: Parts): Database {
  let statements = 0
  const log = (_: LogEvent) => {
    statements += 1
  }
  const kysely = new Kysely<Tables>({ dialect, log })
  const scope = transactionScope()
  const outbox = outboxSignal()
  const views = new Map<ServiceRole, Database>()
  let closing: Promise<void> | undefined

  /** The same connections, transactions and counts, seen as whoever the statements of this Kysely run as. */
  const seenBy = (seen: Kysely<Tables>, prepare: Parts['prepared']): Database => {
    const query = seen.withPlugin(scope.guard)
    whenOutboxWritten(query, outbox.raise)
    return {
      kind,
      query,
      async prepared<Row>(statement: PreparedStatement, values: readonly unknown[]) {
        scope.assertOutside()
        if (prepare === undefined) return (await seen.executeQuery<Row>(CompiledQuery.raw(statement.text, [...values]))).rows
        statements += 1
        return (await prepare(statement, values)) as Row[]
      },
      async transaction(work) {
        let wrote = false
        const result = await scope.run(() =>
          seen.transaction().execute((tx) => {
            whenOutboxWritten(tx, () => {
              wrote = true
            })
            return work(tx)
          }),
        )
        if (wrote) outbox.raise()
        return result
      },
      as(service) {
        const view = views.get(service) ?? seenBy(new Kysely<Tables>({ dialect: parts.as(service), log }), undefined)
        views.set(service, view)
        return view
      },
      listen: parts.listen,
      onOutboxWritten: outbox.listen,
      statements: () => statements,
      ping: () => answersWithin(sql`select 1`.execute(seen), PING_LIMIT_MS),
      relogin: parts.relogin,
      pool: parts.pool,
      onConnectionWait: parts.onConnectionWait,
      close: () => {
        closing ??= parts.close(kysely)
        return closing
      },
    }
  }
  return seenBy(kysely, parts.prepared)
}

async function answersWithin(answer: Promise<unknown>, ms: number): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`the database did not answer within ${ms} ms`)), ms)
  answer.catch(() => {}) // it may fail after the limit has answered for it
  try {
    await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}
