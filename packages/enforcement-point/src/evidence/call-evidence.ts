import { createHash } from 'node:crypto'
import type { Refusal, RequestId, ZoneId } from '@caracal/core'
import type { CallFacts } from '@caracal/enforcement'
import type { EventDraft } from '@caracal/streams'
import type { Outcome } from '../exchange/forward.ts'

/** What the request itself adds to its evidence. */
export type CallRequest = {
  readonly requestId: RequestId
  readonly clientRequestId: string | undefined
  readonly traceId: string | undefined
  /** Query and the part of the body that a rule could read. */
  readonly shown: { readonly query: string; readonly body: Buffer | null }
  /** Arguments of an MCP message: what they were can be proven later, what they say is not kept (P-093). */
  readonly arguments?: { readonly sha256: string; readonly bytes: number }
}

/** What was decided, of a call or of a message that is none by itself. */
export type Judged =
  | { readonly decision: 'allow'; readonly facts: Partial<CallFacts>; readonly revocationPosition: string; readonly degraded?: boolean }
  | { readonly decision: 'hold' | 'deny'; readonly facts: Partial<CallFacts>; readonly refusal: Refusal }

/** What was established of whoever is allowed to do it. */
export type Established = Pick<CallFacts, 'mandate'> & Partial<CallFacts>

/**
 * Evidence of what was decided about a call. Null for what is only counted (`noteEarlyRefusals`): while no mandate is proven, because
 * anybody could name any zone, and above the rate of an Application, whose flood must not fill the log (P-095, P-169).
 */
export function decisionEvent(verdict: Judged, request: CallRequest): EventDraft | null {
  const { facts } = verdict
  const zone = facts.mandate?.claims.zone
  if (zone === undefined || (verdict.decision === 'deny' && verdict.refusal.reason === 'rate_limited')) return null
  const type = verdict.decision === 'allow' ? 'call.allowed' : verdict.decision === 'hold' ? 'call.held' : 'call.refused'
  return {
    ...subjectOf(zone, facts, request),
    type,
    decision: verdict.decision,
    ...(verdict.decision === 'allow'
      ? {
          details: {
            ...argumentsSize(request),
            revocation_position: verdict.revocationPosition,
            ...charged(facts),
            ...(verdict.degraded === true ? { degraded: true } : {}),
          },
        }
      : { reason: verdict.refusal.reason }),
  }
}

/** What budgets were charged with before it goes out: the price, or a call. */
function charged({ charge, match }: Pick<Partial<CallFacts>, 'charge' | 'match'>): { charged?: string } {
  if (charge === undefined || charge === null) return {}
  const price = match?.operation?.price
  return { charged: price === undefined ? '1 call' : `${price.amount} ${price.currency}` }
}

/** Evidence that an allowed call could not go out after all. */
export function refusedLater(facts: Established, request: CallRequest, reason: EventDraft['reason']): EventDraft {
  return {
    ...subjectOf(facts.mandate.claims.zone, facts, request),
    type: 'call.refused',
    decision: 'deny',
    ...(reason === undefined ? {} : { reason }),
  }
}

/** Evidence of how a forwarded call ended. */
export function outcomeEvent(facts: Established, request: CallRequest, outcome: Outcome): EventDraft {
  const { interrupted, ...rest } = outcome
  return {
    ...subjectOf(facts.mandate.claims.zone, facts, request),
    type: 'call.finished',
    outcome: { ...rest, ...(interrupted === undefined ? {} : { interrupted }) },
  }
}

function subjectOf(zone: ZoneId, facts: Partial<CallFacts>, request: CallRequest): Omit<EventDraft, 'type'> {
  const { mandate, resource, match, decision, zone: state } = facts
  const claims = mandate?.claims
  const policy = state?.policy
  return {
    zone,
    request_id: request.requestId,
    ...(request.clientRequestId === undefined ? {} : { client_request_id: request.clientRequestId }),
    ...(request.traceId === undefined ? {} : { trace_id: request.traceId }),
    ...(mandate === undefined || claims === undefined
      ? {}
      : {
          actor: {
            application: claims.client_id,
            ...(claims.sub === claims.client_id ? {} : { subject: claims.sub }),
            ...(claims.ses === undefined ? {} : { sessions: claims.ses }),
            ...(claims.dlg === undefined ? {} : { delegations: claims.dlg }),
          },
          ...standsOn(mandate),
        }),
    ...(resource === undefined ? {} : { resource: resource.identifier }),
    ...(facts.call === undefined
      ? {}
      : {
          operation: {
            method: facts.call.method,
            path: facts.call.path.raw,
            ...(match === undefined || match.template === null ? {} : { template: match.template }),
            ...argumentsDigest(facts, request),
          },
        }),
    ...(match === undefined ? {} : { scopes: [match.scope] }),
    ...(policy?.kind === 'active' && decision !== undefined ? { policy: { set_version: policy.setVersion, rules: decision.rules } } : {}),
  }
}

/** The mandate, or the key that its caller proved in its place. */
function standsOn({ claims, credential }: CallFacts['mandate']): Pick<EventDraft, 'mandate' | 'credential'> {
  if (credential !== undefined) return { credential }
  const { jti, txn, exp, mnd } = claims
  return { mandate: { jti, txn, expiry: exp, ...(mnd === undefined ? {} : { parents: mnd }) } }
}

/** A digest of the arguments when a rule read them: what was decided on can be shown later without being kept. */
function argumentsDigest(facts: Partial<CallFacts>, { shown, arguments: given }: CallRequest): { arguments?: string } {
  if (given !== undefined) return { arguments: given.sha256 }
  if (!(facts.callReads ?? []).some((read) => ['operation.query', 'operation.body', 'operation.*'].includes(read))) return {}
  const digest = createHash('sha256').update(`${shown.query}\n`)
  if (shown.body !== null) digest.update(shown.body)
  return { arguments: digest.digest('hex') }
}

function argumentsSize({ arguments: given }: CallRequest): { arguments_bytes?: number } {
  return given === undefined ? {} : { arguments_bytes: given.bytes }
}
