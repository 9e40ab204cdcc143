import { formatScopes, type MandateClaims, newId, ok, type Result } from '@caracal/core'
import type { AuthenticatedClient } from '../client/authenticate-client.ts'
import type { Granted } from './decide-mint.ts'
import type { LoadedLineage } from './load-lineage.ts'
import type { MintDesk } from './mint-desk.ts'
import type { Target } from './resolve-resource.ts'
import type { Terms } from './set-lifetime.ts'
import { actorChain, type Subject } from './verify-subject.ts'

/** The mandate as it will be signed (2-model "The Mandate", RFC 9068 §2.2). Nothing is signed yet. */
export function drawUpClaims(
  desk: MintDesk,
  at: {
    readonly client: AuthenticatedClient
    readonly subject: Subject
    readonly lineage: LoadedLineage
    readonly target: Target
    readonly granted: Granted
    readonly terms: Terms
  },
): Result<{ readonly claims: MandateClaims }> {
  const parent = at.subject.parent?.claims
  const caller = at.client.application.id
  const { mnd } = at.lineage.ids
  const act = actorChain(
    caller,
    parent,
    at.lineage.delegators.map(({ application }) => application),
  )
  if (!act.ok) return act
  const { authority } = at.lineage
  const actor = act.value ?? (parent !== undefined || authority.sub === caller ? undefined : { sub: caller })
  return ok({
    claims: {
      iss: at.client.zone.snapshot.issuer,
      ...authority,
      aud: at.target.identifier,
      scope: formatScopes(at.granted.scopes),
      iat: at.terms.issuedAt,
      nbf: at.terms.issuedAt,
      exp: at.terms.lifetime.expiresAt,
      jti: newId('mandate', desk.clock()),
      zone: at.client.zone.snapshot.id,
      txn: parent?.txn ?? newId('transaction', desk.clock()),
      ...(mnd.length > 0 ? { mnd } : {}),
      ...(actor === undefined ? {} : { act: actor }),
      ...(at.terms.once ? { once: true as const } : {}),
    },
  })
}
