import type { Delegation, Session } from '@caracal/core'
import type { Caller } from '../callers/caller.ts'

/** Whether the delegation is there for this caller at all: an application sees what it offered and what was offered to it (P-040). */
export function isParty(
  caller: Caller,
  { fromApplication, toApplication }: Pick<Delegation, 'fromApplication' | 'toApplication'>,
): boolean {
  return caller.application === null || caller.application === fromApplication || caller.application === toApplication
}

/**
 * Whether the caller may end it: operators, the delegator, and the recipient, who thereby only gives authority up. A mandate that stands
 * on a session ends what that session's subtree offered or holds, nothing beside it.
 */
export function mayRevoke(caller: Caller, delegation: Delegation, holder: Pick<Session, 'lineage'> | undefined): boolean {
  const { application, within } = caller
  if (application === null) return true
  if (application === delegation.fromApplication && (within === null || delegation.fromLineage.includes(within))) return true
  if (application !== delegation.toApplication) return false
  return within === null || holder === undefined || holder.lineage.includes(within)
}
