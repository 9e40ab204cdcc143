import { formatScopes, type MandateId, type Scope } from '@caracal/core'
import Type from 'typebox'
import type { Terms } from './set-lifetime.ts'
import type { TokenRequest } from './token-request.ts'

/** RFC 6749 §5.1, RFC 8693 §2.2.1, with what became of the lifetime. */
export const TokenAnswer = Type.Object({
  access_token: Type.String(),
  issued_token_type: Type.String(),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer({ minimum: 1 }),
  scope: Type.String(),
  mandate_id: Type.String(),
  clamped_by: Type.Optional(Type.String()),
})

/** The scope is always named: when none was asked for it tells what was granted (RFC 6749 §3.3). */
export function tokenAnswer(done: {
  readonly token: string
  readonly request: TokenRequest
  readonly terms: Terms
  readonly granted: { readonly scopes: ReadonlySet<Scope> }
  readonly claims: { readonly jti: MandateId }
}) {
  const { clampedBy, life } = done.terms.lifetime
  return {
    access_token: done.token,
    issued_token_type: done.request.issuedTokenType,
    token_type: 'Bearer' as const,
    expires_in: life,
    scope: formatScopes(done.granted.scopes),
    mandate_id: done.claims.jti,
    ...(clampedBy === null ? {} : { clamped_by: clampedBy }),
  }
}
