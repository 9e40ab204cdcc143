import { answer, anyone, form, oauthError, Problem, type RouteRow, raw, route } from '@caracal/service'
import Type from 'typebox'
import { introspect } from '../oauth/introspect.ts'
import { type RevocationDesk, revokeMandate } from '../oauth/revoke-mandate.ts'
import { NO_STORE, tokenCall } from './token.ts'

const refusals = {
  400: Problem('invalid_request', 'missing_parameter', 'duplicate_parameter'),
  401: Problem('invalid_client', 'assertion_replayed'),
  429: Problem('rate_limited'),
  503: Problem('revocation_view_stale', 'store_unavailable', 'evidence_unavailable'),
} as const

/** RFC 7662 and RFC 7009. */
export function tokenStateRoutes(desk: RevocationDesk): RouteRow[] {
  return [
    route({
      method: 'POST',
      path: '/oauth/2/introspect',
      who: anyone,
      summary: 'Whether one of your mandates is in force',
      exposure: 'public',
      body: form(),
      reply: { 200: Type.Object({ active: Type.Boolean() }, { additionalProperties: true }), ...refusals },
      refusal: oauthError,
      handle: async (request) => {
        const found = await introspect(desk, tokenCall(request))
        return found.ok ? answer(200, found.value, NO_STORE) : found
      },
    }),
    route({
      method: 'POST',
      path: '/oauth/2/revoke',
      who: anyone,
      summary: 'Revoke one of your mandates and what was exchanged from it',
      exposure: 'public',
      audit: 'revocation.published',
      body: form(),
      reply: { 200: null, ...refusals },
      refusal: oauthError,
      handle: async (request) => {
        const done = await revokeMandate(desk, tokenCall(request))
        return done.ok ? raw('text/plain; charset=utf-8', '', { headers: NO_STORE }) : done
      },
    }),
  ]
}
