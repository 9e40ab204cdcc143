import { ok, type Result, refuse } from '@caracal/core'
import { boundLifetime, type Lifetime } from '@caracal/enforcement'
import type { Granted } from './decide-mint.ts'
import type { LoadedLineage } from './load-lineage.ts'
import type { MintDesk } from './mint-desk.ts'
import type { Target } from './resolve-resource.ts'
import type { TokenRequest } from './token-request.ts'

/** What the mandate's life and use are bound to. */
export type Terms = { readonly issuedAt: number; readonly lifetime: Lifetime; readonly once: boolean }

/** Step 9: the earliest end of all; clamped and reported, never an error (P-001). A rule that wants a bound key cannot be met here. */
export function setLifetime(
  desk: MintDesk,
  at: { readonly request: TokenRequest; readonly lineage: LoadedLineage; readonly target: Target; readonly granted: Granted },
): Result<{ readonly terms: Terms }> {
  const { limits } = at.granted
  if (limits.some((limit) => limit.senderConstrained === true)) return refuse('sender_constraint_required')
  const now = Math.floor(desk.clock() / 1000)
  const rules = limits.flatMap(({ maxTtl }) => (maxTtl === undefined ? [] : [{ name: 'rule', end: now + maxTtl }]))
  const lifetime = boundLifetime(at.request.ttl, at.target.defaultLife, [...rules, ...at.lineage.bounds], now)
  if (!lifetime.ok) return lifetime
  const once = at.request.once || at.target.once || limits.some((limit) => limit.once === true)
  return ok({ terms: { issuedAt: now, lifetime: lifetime.value, once } })
}
