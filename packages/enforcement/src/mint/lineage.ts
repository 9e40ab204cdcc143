import {
  type Delegation,
  type DelegationId,
  MAX_LINEAGE,
  type MandateClaims,
  type MandateId,
  ok,
  type Result,
  refuse,
  type Session,
  type SessionId,
} from '@caracal/core'

/** The ids of everything a mandate stands on, root → leaf. Revoking any of them revokes the mandate. */
export type Lineage = {
  readonly ses: readonly SessionId[]
  readonly dlg: readonly DelegationId[]
  readonly mnd: readonly MandateId[]
}

/** What a mandate can stand on: its own session, the delegation it uses, the mandate it was exchanged from. */
export type Ancestry = {
  readonly session?: Pick<Session, 'lineage'> | undefined
  readonly delegation?: Pick<Delegation, 'fromLineage' | 'lineage'> | undefined
  readonly parent?: Pick<MandateClaims, 'ses' | 'dlg' | 'mnd' | 'jti'> | undefined
}

/**
 * Joins the lineages: the parent mandate's, then the delegator's sessions, then the own. Every id stands once, none is ever
 * dropped; more than ten of a kind are `lineage_too_deep`, because a shortened lineage would survive a revocation.
 */
export function joinLineage({ session, delegation, parent }: Ancestry): Result<Lineage, 'lineage_too_deep'> {
  const ses = distinct(parent?.ses, delegation?.fromLineage, session?.lineage)
  const dlg = distinct(parent?.dlg, delegation?.lineage)
  const mnd = distinct(parent?.mnd, parent === undefined ? undefined : [parent.jti])
  for (const [name, ids] of Object.entries({ ses, dlg, mnd }))
    if (ids.length > MAX_LINEAGE) return refuse('lineage_too_deep', `${name} has ${ids.length}`)
  return ok({ ses, dlg, mnd })
}

/**
 * Of an id that stands in several places the last counts, so that the own session stays the leaf; the order root → leaf
 * within each lineage is kept.
 */
function distinct<T>(...lineages: readonly (readonly T[] | undefined)[]): readonly T[] {
  const seen = new Set<T>()
  for (const lineage of lineages) {
    for (const id of lineage ?? []) {
      seen.delete(id)
      seen.add(id)
    }
  }
  return [...seen]
}
