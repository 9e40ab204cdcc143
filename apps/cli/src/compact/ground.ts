import type { Database } from '@caracal/postgres'
import type { Environment, Logger } from '@caracal/service'
import type { Streams } from '@caracal/streams'
import type { Role } from '../roles.ts'
import type { CompactConfiguration } from './compact-settings.ts'
import { type Companion, startCompanion } from './companion.ts'
import type { KekHolder } from './kek.ts'
import { openCompactStreams, poolShares } from './open-stores.ts'
import type { CompactKeys } from './role-environment.ts'
import type { RolesBeside } from './roles-beside.ts'

/** What the role at the edge stands on: its streams, and the thread of the roles on loopback. */
export type Ground = {
  readonly streams: Streams
  readonly companion: Companion
  /** Ends that thread, then the streams. */
  close(): Promise<void>
}

export type GroundOptions = {
  /** The role at the edge. */
  readonly role: Role
  /** Roles on loopback. */
  readonly beside: readonly Role[]
  readonly environment: Environment
  readonly config: CompactConfiguration
  readonly keys: CompactKeys
  /** Migrated; stays open. */
  readonly database: Database
  readonly logger: Logger
}

const THREAD = new URL('./companion-thread.ts', import.meta.url)

/** Starts the roles on loopback in a thread of their own and opens the streams of this one; when the first fails nothing is left. */
export async function openGround(options: GroundOptions): Promise<Ground> {
  const { role, beside, environment, config, keys, database, logger } = options
  const given: RolesBeside = { edge: role, beside, environment: { ...environment }, keys, pool: poolShares(config.DB_POOL_MAX).beside }
  const companion = await startCompanion({ thread: THREAD, data: given, logger })
  const streams = openCompactStreams({ config, keys, database, logger })
  return {
    streams,
    companion,
    close: async () => {
      await companion.close()
      await streams.close()
    },
  }
}

/** Who opens the key of the installation. */
export function holderOf(config: Pick<CompactConfiguration, 'ZONE_KEK' | 'DB_PASSWORD'>): KekHolder {
  return config.ZONE_KEK === undefined
    ? { by: 'password', secret: config.DB_PASSWORD }
    : { by: 'zone-kek', secret: config.ZONE_KEK.current.bytes }
}
