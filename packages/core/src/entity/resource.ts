import type { ProviderId, ResourceId, ZoneId } from '../id.ts'
import type { Money } from '../money.ts'
import type { Scope } from '../scope.ts'
import type { Seconds } from '../time.ts'
import type { Stored } from './zone.ts'

/**
 * One thing a caller can do: a method (upper case, or `*`) and a path template below the resource's base. Of an MCP server: a method
 * of the protocol (`tools/call`) and the name of a tool, prompt or resource, or its beginning and `*`.
 * Template segments are literal, `{name}` (exactly one segment) or, last, `{name+}` (one or more segments).
 */
export type Operation = {
  readonly method: string
  readonly path: string
  readonly scope: Scope
  /** What a call costs; absent: nothing, and it counts as a call only. */
  readonly price?: Price
}

/** `actual`: header of the upstream's answer that says what the call cost in the same currency; else it cost the amount. */
export type Price = Money & { readonly actual?: string }

/** What is protected. `identifier` is an absolute URI without fragment (RFC 8707) and is the mandate's `aud`. */
export type Resource = Stored & {
  readonly id: ResourceId
  readonly zone: ZoneId
  readonly name: string
  readonly kind: 'http' | 'mcp'
  readonly identifier: string
  /** Base URL of the upstream, http or https, without query; the path below the resource is appended to it byte for byte. */
  readonly upstream: string
  readonly scopes: readonly Scope[]
  /** Empty: the resource declares exactly one scope and every operation needs it. Otherwise undeclared operations are denied. */
  readonly operations: readonly Operation[]
  readonly provider: ProviderId | null
  /** Mandate life when none is asked for. */
  readonly mandateLife: Seconds
  /** Every mandate for it is single use. */
  readonly once: boolean
  /** CIDRs of non-public addresses that the egress guard lets through. */
  readonly egressAllow: readonly string[]
  /** What an encoded separator (`%2F`, `%5C`) in a ruled path means: a 400, or a byte of its segment. */
  readonly encodedSeparators: 'refuse' | 'literal'
  readonly maxBodyBytes: number
  readonly timeouts: {
    readonly connect: Seconds
    readonly firstByte: Seconds
    readonly idle: Seconds
    /** Idle time of event streams. */
    readonly stream: Seconds
  }
}

export const RESOURCE_DEFAULTS = {
  mandateLife: 300,
  once: false,
  encodedSeparators: 'refuse',
  maxBodyBytes: 10 * 1024 * 1024,
  timeouts: { connect: 5, firstByte: 30, idle: 60, stream: 600 },
} as const
