import { createLogger, type Environment, type RunningService } from '@caracal/service'
import { type Role, START_ORDER } from '../roles.ts'
import { startRoles } from '../start-roles.ts'
import { compactConfiguration } from './compact-settings.ts'
import type { CompanionRole } from './companion-talk.ts'
import { openCompactDatabase, openCompactStreams, secretsIn } from './open-stores.ts'
import { type CompactKeys, environmentOf } from './role-environment.ts'

/** What the thread of the roles on loopback is given. */
export type RolesBeside = {
  /** The role at the edge: the process is named after it. */
  readonly edge: Role
  readonly beside: readonly Role[]
  /** As `withoutAbsentFiles` leaves it, and checked. */
  readonly environment: Environment
  readonly keys: CompactKeys
  /** Connections that are the thread's. */
  readonly pool: number
}

export type RunningBeside = {
  readonly roles: readonly CompanionRole[]
  /** Where the STS answers. */
  readonly sts: string
  /** Ends the roles in reverse order, then streams and database. */
  close(): Promise<void>
}

/** Starts the roles on loopback on a database that is migrated; what was started is ended again when one fails. */
export async function startRolesBeside({ edge, beside, environment, keys, pool }: RolesBeside): Promise<RunningBeside> {
  const config = compactConfiguration.parse(environment)
  const logger = createLogger({ name: edge, level: config.LOG_LEVEL, secrets: () => secretsIn(config, keys) })
  const database = await openCompactDatabase({ role: edge, environment, config, pool, logger })
  const streams = openCompactStreams({ config, keys, database, logger })
  const services: RunningService[] = []
  const close = async () => {
    for (const service of services.toReversed()) await service.stop()
    await streams.close()
    await database.close()
  }
  let sts = environment.STS_URL ?? ''
  try {
    await startRoles({
      roles: START_ORDER.filter((one) => beside.includes(one)),
      environmentOf: (role) => environmentOf(role, { environment, config, keys, sts }),
      on: { database, streams, logger },
      onStarted: (service, role) => {
        services.push(service)
        if (role === 'sts') sts = service.address.url
      },
    })
  } catch (error) {
    await close()
    throw error
  }
  const roles = services.map(({ name, metricsAddress }) => ({ name, metrics: metricsAddress?.url ?? null }))
  return { roles, sts, close }
}
