import { readFileSync } from 'node:fs'
import type { RequestListener, Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type Database, MigrationChanged, migrateUp } from '@caracal/postgres'
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
  trustAuthorities,
  waitFor,
} from '@caracal/service'
import { ROLES, type Role } from '../roles.ts'
import { checkedEnvironment } from './checked-environment.ts'
import { withoutAbsentFiles } from './compact-settings.ts'
import { type Ground, holderOf, openGround } from './ground.ts'
import { inBackground } from './in-background.ts'
import { KekMismatch, openKek } from './kek.ts'
import { openCompactDatabase, poolShares, secretsIn } from './open-stores.ts'
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

export type CompactService = RunningService & {
  /** Resolves with the reason when the roles on loopback are not there any more: then the process cannot go on. */
  readonly failed: Promise<Error>
}

/**
 * Several roles in one process on one Postgres, with one set of keys: the role at the edge in this thread, the others in one of their own.
 * Until Postgres answers, has its schema and the roles on loopback run, the ports at the edge answer probes and nothing else; it waits
 * as long as that takes.
 * @throws ConfigurationError with everything that is wrong in the environment of any of the roles.
 * @throws KekMismatch, MigrationChanged or SchemaTooNew: waiting does not help.
 */
export async function startCompact(options: CompactOptions): Promise<CompactService> {
  const { role, beside, migrate } = options
  const environment = withoutAbsentFiles(options.environment)
  const { config, edge } = checkedEnvironment(role, beside, environment)
  const derived: { keys?: CompactKeys } = {}
  const logger = createLogger({
    name: role,
    level: config.LOG_LEVEL,
    secrets: () => secretsIn(config, derived.keys),
  })
  if (environment.CA_BUNDLE_FILE) trustAuthorities(readFileSync(environment.CA_BUNDLE_FILE, 'utf8'))
  const database = await openCompactDatabase({ role, environment, config, pool: poolShares(config.DB_POOL_MAX).edge, logger })
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
      opened.ground = await openGround({ role, beside, environment, config, keys: derived.keys, database, logger })
    })
    const { ground } = opened
    if (ground === undefined || derived.keys === undefined) throw new Error('the wait ended before everything was there')
    const { companion, streams } = ground
    const service = await ROLES[role](environmentOf(role, { environment, config, keys: derived.keys, sts: companion.sts }), {
      streams,
      logger,
      others: metricsOf(companion.roles),
      checks: [companion.check],
    })
    return { ...endingWith(service, close), failed: companion.failed }
  } catch (error) {
    await close()
    throw error
  }
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
