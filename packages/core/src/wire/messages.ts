import type { DelegationId, PolicySetVersionId, SessionId, ZoneId } from '../id.ts'

/** Every stream there is: its kind, who writes it and who reads it (P-111). */
export const STREAMS = {
  'caracal.revocations': { kind: 'broadcast', producers: ['api', 'coordinator'], consumers: ['sts', 'gateway', 'mcp-adapter', 'api'] },
  'caracal.policy': { kind: 'broadcast', producers: ['api'], consumers: ['sts', 'gateway', 'mcp-adapter'] },
  'caracal.config': { kind: 'broadcast', producers: ['api', 'sts'], consumers: ['sts', 'gateway', 'mcp-adapter', 'audit', 'coordinator'] },
  'caracal.coordination': { kind: 'broadcast', producers: ['coordinator'], consumers: ['sts'] },
  'caracal.evidence': { kind: 'broadcast', producers: ['audit'], consumers: ['sts', 'gateway', 'mcp-adapter'] },
  'caracal.audit.events': {
    kind: 'work',
    producers: ['api', 'sts', 'gateway', 'coordinator', 'mcp-adapter', 'audit'],
    consumers: ['audit'],
  },
} as const

export type StreamName = keyof typeof STREAMS
export type BroadcastStream = { [K in StreamName]: (typeof STREAMS)[K]['kind'] extends 'broadcast' ? K : never }[StreamName]
export type WorkStream = { [K in StreamName]: (typeof STREAMS)[K]['kind'] extends 'work' ? K : never }[StreamName]

/** `caracal.config`: something of the zone changed; whoever holds an older version reloads the zone. */
export type ConfigMessage = { readonly v: 1; readonly zone: ZoneId; readonly entity: string; readonly id: string; readonly version: number }

/** `caracal.policy`: another set version is active. */
export type PolicyMessage = {
  readonly v: 1
  readonly zone: ZoneId
  readonly setVersion: PolicySetVersionId
  readonly sha256: string
  readonly version: number
}

/** `caracal.coordination`: a session or delegation changed; whoever caches it reads it anew. */
export type CoordinationMessage = {
  readonly v: 1
  readonly zone: ZoneId
  readonly kind: 'session' | 'delegation'
  readonly id: SessionId | DelegationId
}

/** `caracal.evidence`: the ledger holds every event of this producer up to and including `seq`. */
export type ConfirmedMessage = { readonly v: 1; readonly producer: string; readonly seq: number }
