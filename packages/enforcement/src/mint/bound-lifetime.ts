import { MAX_MANDATE_LIFE, ok, type Result, refuse, type Seconds, type UnixSeconds } from '@caracal/core'

/** Something that the mandate must not outlive. */
export type LifetimeBound = { readonly name: string; readonly end: UnixSeconds }

export type Lifetime = {
  readonly expiresAt: UnixSeconds
  readonly life: Seconds
  /** What made it shorter than asked for; null when nothing did. It is reported, never an error. */
  readonly clampedBy: string | null
}

/**
 * The end of a mandate: the earliest of what was asked for (the resource's default when nothing was), 900 s, and every bound:
 * rules, session and lease, delegations, subject token, actor token, parent mandate (P-001). Whole seconds, rounded down; no leeway
 * is added. `lineage_expired` when nothing is left.
 */
export function boundLifetime(
  asked: Seconds | undefined,
  fallback: Seconds,
  bounds: readonly LifetimeBound[],
  now: UnixSeconds,
): Result<Lifetime, 'lineage_expired'> {
  const wanted = now + (asked ?? fallback)
  let tightest: LifetimeBound = { name: 'maximum', end: now + MAX_MANDATE_LIFE }
  for (const bound of bounds) {
    if (Number.isNaN(bound.end)) return refuse('lineage_expired', bound.name)
    if (bound.end < tightest.end) tightest = bound
  }
  const expiresAt = Math.floor(Math.min(wanted, tightest.end))
  if (!(expiresAt > now)) return refuse('lineage_expired', wanted > tightest.end ? tightest.name : 'requested')
  return ok({ expiresAt, life: expiresAt - now, clampedBy: tightest.end < wanted ? tightest.name : null })
}
