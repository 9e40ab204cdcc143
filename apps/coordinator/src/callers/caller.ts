import type { ApplicationId, Event, Session, SessionId } from '@caracal/core'
import type { Principal } from '@caracal/service'

/**
 * Who acts. `application` null: an operator, who reaches everything of the zone. `within`: the session that the application's
 * mandate stands on; what such a mandate starts and changes stays in that session's subtree, so that it ends with it.
 */
export type Caller = {
  readonly application: ApplicationId | null
  readonly within: SessionId | null
  /** As revocations and evidence name it. */
  readonly by: string
  readonly actor: NonNullable<Event['actor']>
}

/** The caller behind a principal of one of our rows. */
export function callerOf(principal: Principal): Caller {
  if (principal.kind === 'admin') return { application: null, within: null, by: principal.id, actor: { admin: principal.id } }
  if (principal.kind !== 'application') throw new Error('these rows are for applications and operators')
  const { application, claims } = principal
  return {
    application,
    within: claims.ses?.at(-1) ?? null,
    by: application,
    actor: {
      application,
      ...(claims.sub === application ? {} : { subject: claims.sub }),
      ...(claims.ses === undefined ? {} : { sessions: claims.ses }),
    },
  }
}

/** Whether the session is there for this caller at all: an application sees its own, and with a session's mandate those below it (P-040). */
export function reaches(caller: Caller, session: Pick<Session, 'application' | 'lineage'>): boolean {
  if (caller.application === null) return true
  return session.application === caller.application && (caller.within === null || session.lineage.includes(caller.within))
}
