import { refuse } from '@caracal/core'
import { anyone, oauthError, Problem, type RouteRow, route } from '@caracal/service'
import Type from 'typebox'

/** Where authorization requests would go. */
export const AUTHORIZATION_PATH = '/oauth/2/authorize'

/**
 * The authorization endpoint (RFC 6749 §3.1) of a server on which no grant uses one: every request is told so. It is there because clients
 * exist that take metadata without its address for none. Nobody is redirected: there is no registered address that could be trusted.
 */
export function authorizationRoutes(): RouteRow[] {
  return [
    route({
      method: 'GET',
      path: AUTHORIZATION_PATH,
      who: anyone,
      summary: 'Authorization endpoint (RFC 6749 §3.1): no response type is supported',
      exposure: 'public',
      rate: 'discovery',
      query: Type.Object({}, { additionalProperties: true }),
      reply: { 400: Problem('unsupported_response_type') },
      refusal: oauthError,
      handle: () => refuse('unsupported_response_type'),
    }),
  ]
}
