import type { Database } from '@caracal/postgres'
import type { Environment, Logger, RunningService } from '@caracal/service'
import type { Streams } from '@caracal/streams'
import { ROLES, type Role } from './roles.ts'

export type RolesToStart = {
  /** In this order. */
  readonly roles: readonly Role[]
  /** Asked when it is the role's turn: what started before may be named in it. */
  readonly environmentOf: (role: Role) => Environment
  /** Stay open when the roles end. */
  readonly on: { readonly database: Database; readonly streams: Streams; readonly logger: Logger }
  readonly onStart?: (role: Role) => void
  /** Whoever starts them ends them: in reverse order, those that started. */
  readonly onStarted: (service: RunningService, role: Role) => void
}

/** Starts roles in this thread one after the other, on one database and one streams object. */
export async function startRoles({ roles, environmentOf, on, onStart, onStarted }: RolesToStart): Promise<void> {
  for (const role of roles) {
    onStart?.(role)
    const logger = on.logger.child({ role })
    onStarted(await ROLES[role](environmentOf(role), { database: on.database, streams: on.streams, logger }), role)
  }
}
