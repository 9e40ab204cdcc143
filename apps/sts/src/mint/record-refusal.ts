import type { Refusal } from '@caracal/core'
import type { AuthenticatedClient } from '../client/authenticate-client.ts'
import type { MintDesk } from './mint-desk.ts'
import type { TokenCall } from './token-call.ts'
import type { TokenRequest } from './token-request.ts'

/**
 * `mandate.refused` of an authenticated Application. A refusal has no effect that must wait for its evidence: when the spool is
 * not writable the caller is refused all the same.
 */
export async function recordRefusal(
  desk: MintDesk,
  call: TokenCall,
  reached: {
    readonly client?: AuthenticatedClient | undefined
    readonly request?: TokenRequest | undefined
    readonly target?: { readonly identifier: string } | undefined
  },
  refusal: Refusal,
): Promise<void> {
  const { client, request } = reached
  if (client === undefined || refusal.reason === 'evidence_unavailable') return
  const resource = reached.target?.identifier ?? request?.resource
  const policy = client.zone.snapshot.policy
  const rules = refusal.data?.rules
  const session = request?.session
  try {
    await desk.evidence.record({
      zone: client.zone.snapshot.id,
      type: 'mandate.refused',
      actor: { application: client.application.id, ...(session === undefined ? {} : { sessions: [session] }) },
      ...(resource === undefined ? {} : { resource }),
      decision: refusal.reason === 'approval_required' ? 'hold' : 'deny',
      reason: refusal.reason,
      ...(request?.scopes === undefined ? {} : { scopes: [...request.scopes].sort().slice(0, 64) }),
      ...(policy === null ? {} : { policy: { set_version: policy.setVersion, rules: Array.isArray(rules) ? rules.map(String) : [] } }),
      request_id: call.requestId,
      ...(call.clientRequestId === undefined ? {} : { client_request_id: call.clientRequestId }),
      ...(call.traceId === undefined ? {} : { trace_id: call.traceId }),
      details: { revocation_position: desk.revocations.position() },
    })
  } catch {
    return
  }
}
