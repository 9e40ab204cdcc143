import { type MandateClaims, ok, type Result, refuse } from '@caracal/core'
import type { AuthenticatedClient } from '../client/authenticate-client.ts'
import type { Granted } from './decide-mint.ts'
import type { MintDesk } from './mint-desk.ts'
import type { Target } from './resolve-resource.ts'
import type { Terms } from './set-lifetime.ts'
import type { TokenCall } from './token-call.ts'
import type { TokenRequest } from './token-request.ts'

/** Step 10: `mandate.issued` is durable before a signature exists (P-094). */
export async function recordEvidence(
  desk: MintDesk,
  at: TokenCall & {
    readonly client: AuthenticatedClient
    readonly request: TokenRequest
    readonly target: Target
    readonly granted: Granted
    readonly terms: Terms
    readonly claims: MandateClaims
  },
): Promise<Result<Record<never, never>>> {
  const { claims } = at
  const policy = at.client.zone.snapshot.policy
  try {
    await desk.evidence.record({
      zone: claims.zone,
      type: 'mandate.issued',
      actor: {
        application: claims.client_id,
        ...(claims.sub === claims.client_id ? {} : { subject: claims.sub }),
        ...(claims.ses === undefined ? {} : { sessions: claims.ses }),
        ...(claims.dlg === undefined ? {} : { delegations: claims.dlg }),
      },
      resource: claims.aud,
      decision: 'allow',
      scopes: [...at.granted.scopes].sort(),
      ...(policy === null ? {} : { policy: { set_version: policy.setVersion, rules: at.granted.rules } }),
      mandate: {
        jti: claims.jti,
        txn: claims.txn,
        expiry: claims.exp,
        ...(claims.mnd === undefined ? {} : { parents: claims.mnd }),
      },
      request_id: at.requestId,
      ...(at.clientRequestId === undefined ? {} : { client_request_id: at.clientRequestId }),
      ...(at.traceId === undefined ? {} : { trace_id: at.traceId }),
      details: {
        grant: at.request.exchange === undefined ? 'client_credentials' : 'token_exchange',
        authentication: at.client.method,
        revocation_position: desk.revocations.position(),
        ...(claims.once === true ? { once: true } : {}),
        ...(at.terms.lifetime.clampedBy === null ? {} : { clamped_by: at.terms.lifetime.clampedBy }),
      },
    })
    return ok({})
  } catch {
    return refuse('evidence_unavailable')
  }
}
