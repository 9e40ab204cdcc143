import { setTimeout as sleep } from 'node:timers/promises'
import type { KeyRing } from '@caracal/core'
import { type Database, isReadOnly, openDatabase, schemaCompatibility } from '@caracal/postgres'
import { openStreams, type Streams } from '@caracal/streams'
import { trustAuthorities } from './configuration/certificates.ts'
import { ConfigurationError, type Mode } from './configuration/define-configuration.ts'
import { followFiles } from './configuration/follow-files.ts'
import { demandStoreAddress, type Surroundings } from './configuration/store-address.ts'
import type { StopHook } from './graceful-stop.ts'
import type { Logger } from './logger.ts'
import type { Metrics } from './metrics.ts'
import { observeSchema } from './observe-database.ts'
import type { Check } from './probes.ts'
import { demandSchema, SchemaTooNew, SchemaTooOld } from './schema-gate.ts'
import { type Needed, type RoleListeners, waitFor } from './waiting-room.ts'

/** How long a look at a store may take; well within the patience of a check. Milliseconds. */
const PATIENCE_MS = 1_000

/** What a role opened itself and therefore looks after; what was handed over is somebody else's. */
type Own = { readonly database?: Database | undefined; readonly streams?: Streams | undefined }

/** Keeps keys, tokens, logins and authorities what their files say, from now until the role stops (P-144). */
export function ownFiles(
  config: { readonly CA_BUNDLE: string | undefined },
  own: Own,
  parts: {
    readonly logger: Logger
    readonly metrics: Metrics
    readonly onStop: OnStop
    /** What takes new values of the role's own settings; it may be added to later. */
    readonly take?: Record<string, (value: string) => void | Promise<void>>
  },
): void {
  const { database, streams } = own
  const files = followFiles(config, {
    logger: parts.logger,
    metrics: parts.metrics,
    take: Object.assign(parts.take ?? {}, {
      DATABASE_URL: database === undefined ? undefined : (url: string) => database.relogin(url),
      REDIS_URL: streams?.driver === 'redis' ? (url: string) => streams.relogin(url) : undefined,
      CA_BUNDLE: trustAuthorities,
    }),
  })
  parts.onStop('files', files.stop)
}

/** Takes what has to be closed when the role stops; later hooks run first. */
export type OnStop = (name: string, stop: StopHook['stop']) => void

/** What a start waits for of a database: that it answers, and has a schema that this release can work with. */
export function databaseNeeds(database: Database): readonly Needed[] {
  return [
    { name: 'postgres', kind: 'dependency', check: () => database.ping() },
    {
      name: 'schema',
      kind: 'safety',
      reason: 'schema_incompatible',
      check: () => demandSchema(database),
      says: (error) => error instanceof SchemaTooOld,
    },
  ]
}

/**
 * The role's own connection to Postgres, when the process hands none over. Resolves when Postgres answers and its schema is one that
 * this release can work with; until then probes say what is missing. Closed with the role.
 * @throws SchemaTooNew when an older release must not run on this schema any more.
 */
export async function ownDatabase(
  role: string,
  config: RoleListeners & Surroundings & { readonly DATABASE_URL: string | undefined; readonly DATABASE_POOL: number },
  logger: Logger,
  onStop: OnStop,
): Promise<Database> {
  if (config.DATABASE_URL === undefined) throw new ConfigurationError([{ name: 'DATABASE_URL', rule: 'is required' }])
  demandStoreAddress('DATABASE_URL', config.DATABASE_URL, config)
  const database = await openDatabase({ url: config.DATABASE_URL, pool: config.DATABASE_POOL, application: `caracal-${role}` }, { logger })
  try {
    await waitFor(role, config, databaseNeeds(database), {
      logger,
      hopeless: (error) => error instanceof SchemaTooNew,
      observe: (metrics) => observeSchema(metrics, database),
    })
  } catch (error) {
    await database.close()
    throw error
  }
  onStop('database', () => database.close())
  return database
}

/**
 * The role's own streams, when the process hands none over. Resolves when their store answers; until then probes say that it is
 * missing. Closed with the role. A role without a database has no Postgres streams.
 */
export async function ownStreams(
  role: string,
  config: RoleListeners &
    Surroundings & {
      readonly CARACAL_MODE: Mode
      readonly STREAMS_DRIVER: 'redis' | 'postgres'
      readonly REDIS_URL: string | undefined
      readonly STREAMS_HMAC_KEY: KeyRing
    },
  database: Database | null,
  logger: Logger,
  onStop: OnStop,
): Promise<Streams> {
  const streams = openOwn(config, database, logger)
  onStop('streams', () => streams.close())
  await waitFor(role, config, [{ name: 'streams', kind: 'dependency', check: () => streams.ping() }], { logger })
  return streams
}

function openOwn(config: Parameters<typeof ownStreams>[1], database: Database | null, logger: Logger): Streams {
  const common = { keys: config.STREAMS_HMAC_KEY, logger }
  if (config.STREAMS_DRIVER === 'postgres') {
    if (database === null)
      throw new ConfigurationError([{ name: 'STREAMS_DRIVER', rule: 'must be redis: this role holds no database credential' }])
    return openStreams({ ...common, driver: 'postgres', database })
  }
  if (config.REDIS_URL === undefined) throw new ConfigurationError([{ name: 'REDIS_URL', rule: 'is required with STREAMS_DRIVER=redis' }])
  demandStoreAddress('REDIS_URL', config.REDIS_URL, config)
  return openStreams({ ...common, driver: 'redis', url: config.REDIS_URL, requireNoEviction: config.CARACAL_MODE === 'stable' })
}

/**
 * For roles whose changes go to Postgres: names `store_read_only` while it takes none. One that does not answer is the `postgres`
 * check's matter; until it does, what it said last holds.
 */
export function writesCheck(database: Database): Check {
  let readOnly = false
  let asking: Promise<void> | undefined
  const ask = async () => {
    readOnly = await isReadOnly(database.query).catch(() => readOnly)
    asking = undefined
  }
  return {
    name: 'postgres_writes',
    kind: 'safety',
    check: async () => {
      // One question at a time, and no longer than a check may take: a server that hangs is not read-only.
      asking ??= ask()
      const patience = new AbortController()
      await Promise.race([asking, sleep(PATIENCE_MS, undefined, { signal: patience.signal }).catch(() => undefined)])
      patience.abort()
      return readOnly ? { missing: 'store_read_only' } : true
    },
  }
}

/** Once found to fit, the schema is looked at again each minute: only a newer release's contract step can take it away. */
export function schemaCheck(database: Database): () => Promise<boolean> {
  let fitsUntil = 0
  return async () => {
    if (performance.now() < fitsUntil) return true
    const fits = (await schemaCompatibility(database)).state === 'ok'
    if (fits) fitsUntil = performance.now() + 60_000
    return fits
  }
}
