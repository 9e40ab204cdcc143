import { keyRing } from '@caracal/core'
import { type Database, openDatabase } from '@caracal/postgres'
import { type Environment, type Logger, secretsOf } from '@caracal/service'
import { openStreams, type Streams } from '@caracal/streams'
import { databaseLogin } from '../database-login.ts'
import type { Role } from '../roles.ts'
import type { CompactConfiguration } from './compact-settings.ts'
import type { CompactKeys } from './role-environment.ts'

/** Connections of the role at the edge at most: evidence, claims and the streams that it follows need no more. */
const EDGE_CONNECTIONS = 4

/** How the connections of a process (`DB_POOL_MAX`, 4 at least) are divided between its two threads. */
export function poolShares(most: number): { readonly edge: number; readonly beside: number } {
  const edge = Math.min(EDGE_CONNECTIONS, Math.floor(most / 2))
  return { edge, beside: most - edge }
}

/** The database of one thread. */
export async function openCompactDatabase(of: {
  readonly role: Role
  readonly environment: Environment
  readonly config: CompactConfiguration
  readonly pool: number
  readonly logger: Logger
}): Promise<Database> {
  const { role, environment, config, pool, logger } = of
  const { url } = databaseLogin(environment)
  return await openDatabase({ url, pool, connectWithin: config.DB_POOL_TIMEOUT, application: `caracal-${role}` }, { logger })
}

/** The streams of one thread, on its database. */
export function openCompactStreams(of: {
  readonly config: CompactConfiguration
  readonly keys: CompactKeys
  readonly database: Database
  readonly logger: Logger
}): Streams {
  const { config, keys, database, logger } = of
  const ring = config.STREAMS_HMAC_KEY ?? keyRing(Buffer.from(keys.STREAMS_HMAC_KEY, 'hex'))
  return openStreams({ driver: 'postgres', database, keys: ring, logger })
}

/** What no line of the log may hold. */
export function secretsIn(config: CompactConfiguration, keys: CompactKeys | undefined): readonly string[] {
  return [...secretsOf(config), ...Object.values(keys ?? {})]
}
