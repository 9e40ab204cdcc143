import { isId, newId, ok, refuse, type ZoneId } from '@caracal/core'
import { type CallDependencies, decideOwnCall } from '@caracal/enforcement'
import { type Authenticator, bearerToken, type RouteRow } from '@caracal/service'
import type { RefusalAggregator } from '@caracal/streams'
import { rowsByPath } from './row-of-path.ts'

/** Three base64url parts whose first is a JSON object: a JWT, which no operator's token is. */
const JWT = /^eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/

/**
 * Authenticates applications by a mandate for Caracal itself (audience = the zone's issuer) and decides the call as any other:
 * signature, times, lineage against a fresh revocation view, scope of the row, policy. A mandate that is bound to a key is refused:
 * no proof of such a key is read here. Whatever is not a JWT is left to the next authenticator (`unauthenticated`).
 */
export function mandateAuthenticator(options: {
  readonly dependencies: CallDependencies
  readonly rows: readonly RouteRow[]
  readonly knowsZone: (zone: ZoneId) => Promise<boolean>
  readonly refusals: Pick<RefusalAggregator, 'note'>
}): Authenticator {
  const rowOf = rowsByPath(options.rows)
  return {
    challenge: 'Bearer realm="caracal"',
    async authenticate(presented) {
      const token = bearerToken(presented.authorization)
      if (token === undefined || !JWT.test(token)) return refuse('unauthenticated')
      const scope = presented.who.flatMap((who) => (who.kind === 'application' ? who.scopes : []))[0]
      if (scope === undefined) return refuse('forbidden')
      const path = presented.url.split('?')[0] ?? ''
      const zone = path.split('/')[3]
      const known = isId('zone', zone) && (await options.knowsZone(zone)) ? zone : undefined
      const verdict = await decideOwnCall(
        {
          requestId: newId('request'),
          token,
          method: presented.method,
          path,
          peer: presented.source,
          scope,
          ...(rowOf(presented.method, path) ?? { template: '', params: {} }),
        },
        options.dependencies,
      )
      if (verdict.decision !== 'allow') {
        options.refusals.note({ source: presented.source, reason: verdict.refusal.reason, zone: known })
        return verdict.refusal
      }
      const { mandate } = verdict.facts
      return ok({
        kind: 'application',
        application: mandate.claims.client_id,
        zone: mandate.claims.zone,
        scopes: mandate.scopes,
        claims: mandate.claims,
      })
    },
  }
}
