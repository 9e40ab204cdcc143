import { performance } from 'node:perf_hooks'
import { isId } from '@caracal/core'
import { answer, anyone, form, labelled, oauthError, Problem, type RouteRequest, type RouteRow, route } from '@caracal/service'
import type { RefusalAggregator } from '@caracal/streams'
import { claimedClient } from '../client/client-assertion.ts'
import { presentedCredential } from '../client/presented-credential.ts'
import type { StsMetrics } from '../metrics.ts'
import { mintWith } from '../mint/mint.ts'
import type { MintDesk } from '../mint/mint-desk.ts'
import { recordRefusal } from '../mint/record-refusal.ts'
import { TokenAnswer, tokenAnswer } from '../mint/token-answer.ts'
import type { TokenCall } from '../mint/token-call.ts'

/** RFC 6749 §5.1: nothing of it is kept by anybody on the way. */
export const NO_STORE = { 'cache-control': 'no-store', pragma: 'no-cache' } as const

export type OAuthCall = RouteRequest<undefined, undefined, ReturnType<typeof form>>

/** The call as the steps see it. */
export function tokenCall(request: OAuthCall): TokenCall {
  return {
    form: request.body,
    authorization: request.headers.authorization,
    source: request.source,
    requestId: request.id,
    clientRequestId: request.clientRequestId,
    traceId: request.trace.traceId,
  }
}

/** `POST /oauth/2/token`: RFC 6749 §4.4 and RFC 8693. */
export function tokenRoutes(desk: MintDesk, metrics: StsMetrics, refusals: Pick<RefusalAggregator, 'note'>): RouteRow[] {
  const mint = mintWith(desk)
  const exchanged = labelled(metrics.exchangeSeconds)
  return [
    route({
      method: 'POST',
      path: '/oauth/2/token',
      who: anyone,
      summary: 'Mint a mandate (client_credentials, token exchange)',
      exposure: 'public',
      direct: true,
      audit: 'mandate.issued',
      body: form(),
      reply: {
        200: TokenAnswer,
        400: Problem('invalid_request', 'invalid_target', 'invalid_scope', 'scope_exceeds_parent', 'session_not_usable', 'lineage_revoked'),
        401: Problem('invalid_client', 'assertion_replayed'),
        403: Problem('no_rule_allows', 'denied_by_rule', 'no_active_policy', 'approval_required'),
        429: Problem('rate_limited'),
        503: Problem('revocation_view_stale', 'evidence_unavailable', 'policy_unavailable', 'keys_unavailable', 'store_unavailable'),
      },
      refusal: oauthError,
      handle: async (request) => {
        const began = performance.now()
        const call = tokenCall(request)
        const outcome = await mint.run(call)
        const seconds = (performance.now() - began) / 1000
        if (outcome.passed) {
          exchanged('issued', 'none').observe(seconds)
          return answer(200, tokenAnswer(outcome.so), NO_STORE)
        }
        const { refusal, so } = outcome
        exchanged('refused', refusal.reason).observe(seconds)
        if (so.client !== undefined) await recordRefusal(desk, call, so, refusal)
        else {
          const zone = namedZone(desk, call)
          refusals.note({ zone, source: call.source, reason: refusal.reason })
        }
        return refusal
      },
    }),
  ]
}

/** The zone of the client that the request names, if there is such a client. */
function namedZone(desk: MintDesk, call: TokenCall) {
  const values = new Map([...call.form].map(([name, all]) => [name, all[0] ?? '']))
  const presented = presentedCredential(values, call.authorization)
  if (!presented.ok) return undefined
  const { value } = presented
  const claimed = value.method === 'private_key_jwt' ? (value.clientId ?? claimedClient(value.assertion)) : value.clientId
  return isId('application', claimed) ? desk.zones.ofApplication(claimed)?.snapshot.id : undefined
}
