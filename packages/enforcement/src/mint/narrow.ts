import { type Delegation, ok, type ResourceId, type Result, refuse, type Scope } from '@caracal/core'

/** One thing that bounds what may be granted, with its name for the refusal. */
export type Ceiling = { readonly name: string; readonly scopes: ReadonlySet<Scope> }

export type Narrowed = {
  /** What policy is asked about: never more than the resource declares and every ceiling holds. */
  readonly scopes: ReadonlySet<Scope>
  /** Named by the caller: then policy must allow each of them. Otherwise what it allows of them is granted. */
  readonly explicit: boolean
}

/**
 * requested ∩ declared ∩ parent mandate ∩ every delegation (P-002). A requested scope that the resource does not declare is
 * `invalid_scope`; one that a ceiling lacks is `scope_exceeds_parent`; both name it, nothing is dropped silently. Nothing
 * requested (null, or an empty set) means all that is left below every ceiling. Order and repetition carry no meaning.
 */
export function narrow(
  requested: ReadonlySet<Scope> | null,
  declared: readonly Scope[],
  ceilings: readonly Ceiling[],
): Result<Narrowed, 'invalid_scope' | 'scope_exceeds_parent'> {
  const known = new Set(declared)
  if (requested === null || requested.size === 0) {
    const scopes = ceilings.reduce<ReadonlySet<Scope>>((left, ceiling) => left.intersection(ceiling.scopes), known)
    return ok({ scopes, explicit: false })
  }
  for (const scope of requested) {
    if (!known.has(scope)) return refuse('invalid_scope', `${scope} is not a scope of this resource`, { scope })
    const short = ceilings.find((ceiling) => !ceiling.scopes.has(scope))
    if (short !== undefined) return refuse('scope_exceeds_parent', `${scope} is not held by ${short.name}`, { scope })
  }
  return ok({ scopes: new Set(requested), explicit: true })
}

/** What each delegation of a chain leaves for one resource. A resource that a delegation does not list is left nothing (P-035). */
export function delegationCeilings(chain: readonly Pick<Delegation, 'id' | 'grants'>[], resource: ResourceId): readonly Ceiling[] {
  return chain.map(({ id, grants }) => ({
    name: id,
    scopes: new Set(grants.filter((grant) => grant.resource === resource).flatMap((grant) => grant.scopes)),
  }))
}
