import type { ApplicationId, DelegationId, EventId, MandateId, RequestId, SessionId, TokenId, TransactionId, ZoneId } from './id.ts'
import type { Reason } from './reason.ts'
import type { UnixSeconds } from './time.ts'

/** The closed catalogue of evidence, with what each type records. The reference page is generated from it. */
export const EVENT_TYPES = {
  'mandate.issued': 'A mandate was signed.',
  'mandate.refused': 'A request for a mandate was refused.',
  'call.allowed': 'A governed call was decided and may be forwarded.',
  'call.refused': 'A governed call was refused.',
  'call.held': 'A governed call waits for a human.',
  'call.finished': 'A forwarded call ended; carries the outcome.',
  'credential.released': 'An upstream credential was handed to an enforcement point.',
  'session.started': 'A session began.',
  'session.suspended': 'A session and its subtree were suspended.',
  'session.resumed': 'A suspension was lifted.',
  'session.ended': 'A session and its subtree ended.',
  'session.leased': 'The lease of a session was taken over by its next generation.',
  'delegation.offered': 'A session offered authority to an application.',
  'delegation.accepted': 'A session accepted a delegation.',
  'delegation.revoked': 'A delegation was revoked.',
  'revocation.published': 'An id was revoked.',
  'revocation.lifted': 'A suspension of an id was lifted.',
  'budget.expired': 'A charge to budgets was not settled in time and was given back: how the call ended was not said.',
  'budget.lost': 'What an enforcement point held of a budget counts as spent: it never said what it spent of it.',
  'policy.activated': 'A policy set version became the active one.',
  'admin.changed': 'An administrative change; `operation` names the route, `target` the row.',
  'admin.refused': 'An administrative request was refused.',
  'evidence.read': 'Somebody read or exported evidence.',
  'canary.checked': 'The canary ran.',
  'log.started': 'The zone and its log began.',
} as const

export type EventType = keyof typeof EVENT_TYPES

/** Who acted: each member only when known. */
export type EventActor = {
  readonly application?: ApplicationId
  readonly subject?: string
  readonly sessions?: readonly SessionId[]
  readonly delegations?: readonly DelegationId[]
  readonly admin?: TokenId | 'bootstrap' | 'coordinator' | 'audit-admin' | 'sts-admin'
  /** Source address, for refusals before authentication only. */
  readonly source?: string
}

/** The key that a caller without a mandate proved: an API key or a bound certificate by its id, the key of a token by its thumbprint. */
export type EventCredential = { readonly kind: 'api_key' | 'mtls' | 'jwt'; readonly id: string }

/**
 * One piece of evidence. Its RFC 8785 bytes, made once by the service that decided, are what is signed, spooled,
 * hashed, stored and exported. Never a credential, a token, a body or an argument value. At most 64 KiB.
 */
export type Event = {
  readonly v: 1
  readonly id: EventId
  readonly zone: ZoneId
  /** RFC 3339, UTC, microseconds. */
  readonly time: string
  readonly type: EventType
  readonly service: 'api' | 'sts' | 'gateway' | 'audit' | 'coordinator' | 'mcp-adapter'
  readonly actor?: EventActor
  /** Identifier of the resource. */
  readonly resource?: string
  readonly operation?: {
    readonly method?: string
    /** Path below the resource, without query. */
    readonly path?: string
    readonly template?: string
    /** SHA-256 of query and body, hex, when a condition read them. */
    readonly arguments?: string
  }
  /** Row an administrative change is about. */
  readonly target?: { readonly kind: string; readonly id: string; readonly name?: string }
  readonly decision?: 'allow' | 'hold' | 'deny'
  readonly reason?: Reason
  readonly scopes?: readonly string[]
  readonly policy?: { readonly set_version: string; readonly rules: readonly string[] }
  readonly mandate?: {
    readonly jti: MandateId
    readonly txn: TransactionId
    readonly expiry: UnixSeconds
    readonly parents?: readonly MandateId[]
  }
  /** In the place of a mandate, where the caller proved itself to the enforcement point. */
  readonly credential?: EventCredential
  readonly outcome?: {
    readonly status?: number
    readonly latency_ms?: number
    readonly bytes_in?: number
    readonly bytes_out?: number
    readonly upstream?: string
    readonly interrupted?: Reason
  }
  /** How many alike this stands for: refusals before authentication are aggregated per source and second. */
  readonly count?: number
  readonly request_id?: RequestId
  readonly client_request_id?: string
  readonly trace_id?: string
  readonly details?: Readonly<Record<string, string | number | boolean | readonly string[]>>
}

/** Events past this are not evidence but an attack on it. */
export const MAX_EVENT_BYTES = 65_535
