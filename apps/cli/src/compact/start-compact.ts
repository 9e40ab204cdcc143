import { readFileSync } from 'node:fs'
import type { RequestListener, Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type Database, MigrationChanged, migrateUp, openDatabase } from '@caracal/postgres'
import {
  ConfigurationError,
  createLogger,
  databaseNeeds,
  demandSchema,
  type Environment,
  type Logger,
  RELEASE,
  type RoleListeners,
  type RunningService,
  SchemaTooNew,
  secretsOf,
  trustAuthorities,
  waitFor,
} from '@caracal/service'
import { databaseLogin } from '../database-login.ts'
import { ROLES, type Role } from '../roles.ts'
import { checkedEnvironment } from './checked-environment.ts'
import { type CompactConfiguration, withoutAbsentFiles } from './compact-settings.ts'
import { type Ground, holderOf, openGround } from './ground.ts'
import { inBackground } from './in-background.ts'
import { KekMismatch, openKek } from './kek.ts'
import { metricsOf } from './other-metrics.ts'
import { demandKnownDatabase, RestoreUnconfirmed } from './restored.ts'
import { type CompactKeys, environmentOf, keysOf } from './role-environment.ts'

export type CompactOptions = {
  /** At the edge: whom callers reach. */
  readonly role: Role
  /** Beside it, on loopback. */
  readonly beside: readonly Role[]
  /** Whether this process migrates the schema; else it waits for one that fits. */
  readonly migrate: boolean
  readonly environment: Environment
}

/**
 * Several roles in one process on one Postgres: one pool, one streams object, one set of keys. Until Postgres answers, has its schema and
 * the roles on loopback run, the ports at the edge answer probes and nothing else; it waits as long as that takes.
 * @throws ConfigurationError with everything that is wrong in the environment of any of the roles.
 * @throws KekMismatch, MigrationChanged or SchemaTooNew: waiting does not help.
 */
export async function startCompact(options: CompactOptions): Promise<RunningService> {
  const { role, beside, migrate } = options
  const environment = withoutAbsentFiles(options.environment)
  const { config, edge } = checkedEnvironment(role, beside, environment)
  const derived: { keys?: CompactKeys } = {}
  const logger = createLogger({
    name: role,
    level: config.LOG_LEVEL,
    secrets: () => [...secretsOf(config), ...Object.values(derived.keys ?? {})],
  })
  const database = await openStore(role, environment, config, logger)
  const opened: { ground?: Ground } = {}
  const close = async () => {
    await opened.ground?.close()
    await database.close()
  }
  try {
    await waitForGround({ role, edge, environment, database, logger }, async () => {
      if (migrate) await migrateUp(database, { app: RELEASE, onProgress: ({ name }) => logger.info({ migration: name }, 'migrating') })
      await demandSchema(database)
      await demandKnownDatabase(database)
      derived.keys = keysOf(await openKek(database, holderOf(config)))
      opened.ground = await openGround({ beside, environment, config, keys: derived.keys, database, logger })
    })
    const { ground } = opened
    if (ground === undefined || derived.keys === undefined) throw new Error('the wait ended before everything was there')
    const service = await ROLES[role](environmentOf(role, { environment, config, keys: derived.keys, sts: ground.sts }), {
      streams: ground.streams,
      logger,
      others: metricsOf(() => ground.services),
    })
    return endingWith(service, close)
  } catch (error) {
    await close()
    throw error
  }
}

async function openStore(role: Role, environment: Environment, config: CompactConfiguration, logger: Logger): Promise<Database> {
  if (environment.CA_BUNDLE_FILE) trustAuthorities(readFileSync(environment.CA_BUNDLE_FILE, 'utf8'))
  const { url } = databaseLogin(environment)
  const { DB_POOL_MAX: pool, DB_POOL_TIMEOUT: connectWithin } = config
  return await openDatabase({ url, pool, connectWithin, application: `caracal-${role}` }, { logger })
}

/** Probes answer at the edge while `prepare` runs, again and again until it succeeds. */
async function waitForGround(
  at: {
    readonly role: Role
    readonly edge: RoleListeners
    readonly environment: Environment
    readonly database: Database
    readonly logger: Logger
  },
  prepare: () => Promise<void>,
): Promise<void> {
  const { role, edge, environment, database, logger } = at
  let last: unknown
  const failed = (error: unknown) => {
    if (String(error) !== String(last)) logger.warn({ err: error }, 'the start has to wait')
    last = error
  }
  const prepared = async () => {
    await prepare()
    last = undefined
  }
  await waitFor(
    role,
    edge,
    [
      ...databaseNeeds(database),
      {
        name: 'database',
        kind: 'safety',
        reason: 'restore_unconfirmed',
        check: async () => {
          if (last instanceof RestoreUnconfirmed) throw last
        },
        says: (error) => error instanceof RestoreUnconfirmed,
      },
      { name: 'roles', kind: 'dependency', check: inBackground(prepared, failed) },
    ],
    { logger, hopeless: isHopeless, ...tlsListener(role, environment) },
  )
}

/** What is wrong with the installation itself: nobody who waits gets past it. */
function isHopeless(error: unknown): boolean {
  return [ConfigurationError, KekMismatch, MigrationChanged, SchemaTooNew].some((one) => error instanceof one)
}

/** The Gateway is asked over TLS from the first moment on where it has a certificate. */
function tlsListener(role: Role, environment: Environment): { listener?: (respond: RequestListener) => Server } {
  const { TLS_CERT_FILE: certificate, TLS_KEY_FILE: key } = environment
  if (role !== 'gateway' || !certificate || !key) return {}
  return { listener: (respond) => createTlsServer({ cert: readFileSync(certificate), key: readFileSync(key) }, respond) }
}

/** Stops the role at the edge, then what it stands on. */
function endingWith(service: RunningService, close: () => Promise<void>): RunningService {
  let stopping: ReturnType<RunningService['stop']> | undefined
  return {
    ...service,
    stop() {
      stopping ??= service.stop().then(async (report) => {
        await close()
        return report
      })
      return stopping
    },
  }
}
