import type { ApplicationId, ResourceId, SessionId, ZoneId } from '../id.ts'
import type { Scope } from '../scope.ts'
import type { Seconds, UnixMillis } from '../time.ts'

/** What is known of a request in both phases. Every decision is for exactly one scope. */
export type DecisionFacts = {
  readonly zone: { readonly id: ZoneId; readonly name: string; readonly labels: readonly string[] }
  /** Labels are set by an administrator. */
  readonly application: { readonly id: ApplicationId; readonly name: string; readonly labels: readonly string[] }
  /** Absent: the application acts for itself; conditions see empty strings and no claims. */
  readonly subject?: { readonly id: string; readonly issuer: string; readonly claims: Readonly<Record<string, unknown>> }
  /** Absent: conditions see kind `none`, depth 0, no labels. Labels are self-declared. `depth` counts the sessions of the lineage, 1 = root. */
  readonly session?: {
    readonly id: SessionId
    readonly kind: 'task' | 'service'
    readonly labels: readonly string[]
    readonly depth: number
  }
  /** Length of the lineage of delegations; absent: 0. */
  readonly delegation?: { readonly depth: number }
  readonly resource: {
    readonly id: ResourceId | 'built-in'
    readonly name: string
    readonly identifier: string
    readonly kind: 'http' | 'mcp' | 'built-in'
  }
  readonly scope: Scope
  /** What the mandate will be, or is. */
  readonly mandate: { readonly ttl: Seconds; readonly once: boolean; readonly senderConstrained: boolean }
  /** Caracal's own resource needs no allow; a deny or hold still counts. */
  readonly builtIn?: true
}

/** One governed call, as it will be forwarded. */
export type CallOperation = {
  /** Upper case; for MCP the JSON-RPC method. */
  readonly method: string
  /** Path below the resource. */
  readonly path: string
  /** Path template that matched, empty when none did. */
  readonly template: string
  /** Values of the template's parameters. */
  readonly params: Readonly<Record<string, string>>
  /** Decoded query. A parameter that stands more than once cannot be read by a condition. */
  readonly query: Readonly<Record<string, string | readonly string[]>>
  /** Lower-case names, allow-listed headers only. One that stands more than once cannot be read by a condition. */
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  /** Parsed JSON; `null` when there is no body; `undefined` when there is one that is not JSON or too large: reading it then fails. */
  readonly body: unknown
  /** MCP tool, prompt or resource name; empty for http. */
  readonly tool: string
  /** MCP arguments; `undefined` as for `body`. */
  readonly arguments: Readonly<Record<string, unknown>> | undefined
}

export type CallRequest = { readonly time: UnixMillis; readonly peer: string }

export type MintInput = DecisionFacts & { readonly phase: 'mint' }
export type CallInput = DecisionFacts & { readonly phase: 'call'; readonly operation: CallOperation; readonly request: CallRequest }

export type DecisionInput = MintInput | CallInput
