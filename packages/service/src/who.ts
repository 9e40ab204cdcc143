import type { AdminToken, ApplicationId, MandateClaims, Role, Scope, TokenId, ZoneId } from '@caracal/core'

/** An operator, automation, or one of the tokens that come with the deployment. */
export type AdminPrincipal = {
  readonly kind: 'admin'
  readonly id: TokenId | 'bootstrap' | 'coordinator' | 'audit-admin' | 'sts-admin'
  readonly name: string
  readonly roles: AdminToken['roles']
  /** null = every zone. */
  readonly zone: ZoneId | null
}

/** An application that showed a mandate for Caracal itself. */
export type ApplicationPrincipal = {
  readonly kind: 'application'
  readonly application: ApplicationId
  readonly zone: ZoneId
  readonly scopes: ReadonlySet<Scope>
  readonly claims: MandateClaims
}

/** Another role of this deployment, proven by the signature of an internal call. */
export type InternalPrincipal = { readonly kind: 'internal'; readonly caller: string }

/** What an app authenticates in its own way; `type` is what rows ask for. */
export type CustomPrincipal = {
  readonly kind: 'custom'
  readonly type: string
  readonly id: string
  readonly zone: ZoneId | null
  readonly data?: unknown
}

export type Principal = { readonly kind: 'anyone' } | AdminPrincipal | ApplicationPrincipal | InternalPrincipal | CustomPrincipal

/** Who may call a row, as data. A row may name several; one that fits is enough. */
export type Who =
  | { readonly kind: 'anyone' }
  | { readonly kind: 'role'; readonly roles: readonly Role[]; readonly reach: 'path' | 'any' }
  | { readonly kind: 'application'; readonly scopes: readonly Scope[] }
  | { readonly kind: 'internal'; readonly callers: readonly string[] }
  | { readonly kind: 'custom'; readonly type: string }

/** No credential is asked for and none is looked at. */
export const anyone: Who = { kind: 'anyone' }

/**
 * A token with one of these roles. Where the path has `:zone` the token must be global or of that zone;
 * elsewhere it must be global.
 */
export function role(...roles: Role[]): Who {
  return { kind: 'role', roles, reach: 'path' }
}

/** A token with one of these roles for any zone at all; the handler narrows what it shows to `principal.zone`. */
export function roleInAnyZone(...roles: Role[]): Who {
  return { kind: 'role', roles, reach: 'any' }
}

/** An application of the zone in the path with all of these scopes at Caracal itself. */
export function application(...scopes: Scope[]): Who {
  return { kind: 'application', scopes }
}

/** Another role of the deployment, by a signed call. */
export function internal(...callers: string[]): Who {
  return { kind: 'internal', callers }
}

/** A principal of an app's own kind. */
export function custom(type: string): Who {
  return { kind: 'custom', type }
}

/** `admin` stands for every role but `approver`; nothing else stands for another (P-122). */
export function holdsRole(held: readonly Role[], wanted: readonly Role[]): boolean {
  return wanted.some((one) => held.includes(one) || (one !== 'approver' && held.includes('admin')))
}

/**
 * What the row says about this principal. `foreign`: right kind, but the zone is not its own; it must look exactly as if
 * the zone did not exist (P-131). `zone` is null where the path has none.
 */
export function authorize(who: readonly Who[], principal: Principal, zone: ZoneId | null): 'allowed' | 'foreign' | 'forbidden' {
  let verdict: 'foreign' | 'forbidden' = 'forbidden'
  for (const one of who) {
    const found = fits(one, principal, zone)
    if (found === 'allowed') return 'allowed'
    if (found === 'foreign') verdict = 'foreign'
  }
  return verdict
}

function fits(who: Who, principal: Principal, zone: ZoneId | null): 'allowed' | 'foreign' | 'forbidden' {
  if (who.kind === 'anyone') return 'allowed'
  if (who.kind === 'role' && principal.kind === 'admin') {
    if (who.reach === 'path' && principal.zone !== null && principal.zone !== zone) return zone === null ? 'forbidden' : 'foreign'
    return holdsRole(principal.roles, who.roles) ? 'allowed' : 'forbidden'
  }
  if (who.kind === 'application' && principal.kind === 'application') {
    if (zone !== null && principal.zone !== zone) return 'foreign'
    return who.scopes.every((scope) => principal.scopes.has(scope)) ? 'allowed' : 'forbidden'
  }
  if (who.kind === 'internal' && principal.kind === 'internal') return who.callers.includes(principal.caller) ? 'allowed' : 'forbidden'
  if (who.kind === 'custom' && principal.kind === 'custom') {
    if (zone !== null && principal.zone !== null && principal.zone !== zone) return 'foreign'
    return who.type === principal.type ? 'allowed' : 'forbidden'
  }
  return 'forbidden'
}

/** One word per principal, for rate buckets and idempotency: no two principals share one. */
export function principalKey(principal: Principal): string {
  switch (principal.kind) {
    case 'anyone':
      return 'anyone'
    case 'admin':
      return `admin:${principal.id}`
    case 'application':
      return `application:${principal.application}`
    case 'internal':
      return `internal:${principal.caller}`
    case 'custom':
      return `custom:${principal.type}:${principal.id}`
  }
}
