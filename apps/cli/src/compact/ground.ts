import { keyRing } from '@caracal/core'
import type { Database } from '@caracal/postgres'
import type { Environment, Logger, RunningService } from '@caracal/service'
import { openStreams, type Streams } from '@caracal/streams'
import { ROLES, type Role, START_ORDER } from '../roles.ts'
import type { CompactConfiguration } from './compact-settings.ts'
import type { KekHolder } from './kek.ts'
import { type CompactKeys, environmentOf } from './role-environment.ts'

/** What the role at the edge stands on: streams, and the roles on loopback. */
export type Ground = {
  readonly streams: Streams
  readonly services: readonly RunningService[]
  /** Where the STS answers. */
  readonly sts: string
  /** Ends the roles in reverse order, then the streams. */
  close(): Promise<void>
}

export type GroundOptions = {
  /** Roles on loopback. */
  readonly beside: readonly Role[]
  readonly environment: Environment
  readonly config: CompactConfiguration
  readonly keys: CompactKeys
  /** Migrated; stays open. */
  readonly database: Database
  readonly logger: Logger
}

/** Opens the streams and starts the roles on loopback; what was started is ended again when one fails. */
export async function openGround({ beside, environment, config, keys, database, logger }: GroundOptions): Promise<Ground> {
  const streams = openStreams({
    driver: 'postgres',
    database,
    keys: config.STREAMS_HMAC_KEY ?? keyRing(Buffer.from(keys.STREAMS_HMAC_KEY, 'hex')),
    logger,
  })
  const services: RunningService[] = []
  const close = async () => {
    for (const service of services.toReversed()) await service.stop()
    await streams.close()
  }
  let sts = environment.STS_URL ?? ''
  try {
    for (const role of START_ORDER.filter((one) => beside.includes(one))) {
      const service = await ROLES[role](environmentOf(role, { environment, config, keys, sts }), {
        database,
        streams,
        logger: logger.child({ role }),
      })
      services.push(service)
      if (role === 'sts') sts = service.address.url
    }
    return { streams, services, sts, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Who opens the key of the installation. */
export function holderOf(config: Pick<CompactConfiguration, 'ZONE_KEK' | 'DB_PASSWORD'>): KekHolder {
  return config.ZONE_KEK === undefined
    ? { by: 'password', secret: config.DB_PASSWORD }
    : { by: 'zone-kek', secret: config.ZONE_KEK.current.bytes }
}
