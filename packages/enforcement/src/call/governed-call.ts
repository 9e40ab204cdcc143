import type {
  Application,
  ApplicationId,
  Clock,
  Decision,
  Refusal,
  RequestId,
  Resource,
  RuleApproval,
  UnixMillis,
  UnixSeconds,
  ZoneId,
} from '@caracal/core'
import type { Claim } from '@caracal/streams'
import type { ProvenCaller } from '../caller/proven-caller.ts'
import type { Mandate, MandateVerifier } from '../mandate/verify-mandate.ts'
import type { OperationMatch } from '../operation/match-operation.ts'
import type { RawPath } from '../operation/parse-path.ts'
import type { ReplicaState } from '../replica/replica-state.ts'
import type { ZoneState } from '../replica/zone-state.ts'
import type { RevocationView } from '../revocation/revocation-view.ts'
import type { CallBudgets, Charge } from './reserve-budget.ts'

/** On what a call stands: a mandate, or an Application that proved itself without one (`AUTH_MODE`). */
export type Presented =
  | { readonly token: string; readonly caller?: undefined }
  | { readonly token?: undefined; readonly caller: ProvenCaller }

/** One request after routing: what the caller wants to do, and on what it stands. */
export type GovernedCall = Presented & {
  readonly requestId: RequestId
  /** What the caller addressed: a resource by name (path or host routing) or by identifier (header). */
  readonly route: { readonly by: 'name' | 'identifier'; readonly value: string }
  /** Upper case. */
  readonly method: string
  /** Path below the resource, exactly as it will be forwarded. */
  readonly path: RawPath
  readonly query: Readonly<Record<string, string | readonly string[]>>
  /** Allow-listed headers, lower-case names. */
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  /** Reads and parses the JSON body of a call to this resource; asked only when a rule reads it. Null: none. Undefined: no JSON, or too large. */
  readonly body: (resource: Resource) => Promise<unknown>
  /** What an MCP message asks for: conditions see the name as `operation.tool`, and the arguments. Absent: an HTTP call. */
  readonly mcp?: { readonly tool: string; readonly arguments: Readonly<Record<string, unknown>> | undefined } | undefined
  /** Address of the caller. */
  readonly peer: string
  /** Keys that the caller proved to hold: thumbprints of a DPoP key or of the client certificate. */
  readonly proof?: { readonly jkt?: string; readonly 'x5t#S256'?: string } | undefined
}

export type CallDependencies = {
  readonly state: ReplicaState
  readonly view: RevocationView
  readonly verifier: MandateVerifier
  /** One atomic set-if-absent shared by all replicas, as `Streams.claim`; throws when the store is away. */
  readonly claim: (key: string, owner: string, ttl: number) => Promise<boolean>
  readonly release: (key: string, owner: string) => Promise<void>
  /**
   * Set by who claims together with the evidence of the call (`EvidenceWriter.recordClaiming`): then nothing is claimed while it is
   * decided, and the verdict says what to claim.
   */
  readonly later?: ClaimingLater | undefined
  /** Reads a zone anew because something in it is not known; see `ConfigurationFollower.refresh`. */
  readonly refresh?: ((zone: ZoneId) => Promise<void>) | undefined
  /** Confirms the configuration for this call; false: its source does not answer. Absent: what is held counts while it is current. */
  readonly confirm?: (() => Promise<boolean>) | undefined
  readonly clock?: Clock | undefined
  /** Seconds that this Application has to wait before its next call; 0 = go ahead, and it counts. Asked once per call (P-067). */
  readonly admit?: ((application: ApplicationId) => number) | undefined
  /** Why this zone's call would only wait; null = go ahead. Asked once per call (P-169). */
  readonly shed?: ((zone: ZoneId) => Refusal | null) | undefined
  /** Absent: nothing is charged. */
  readonly budgets?: CallBudgets | undefined
}

/** What this replica knows of claims before they are made. */
export type ClaimingLater = {
  /** False when somebody else is known to have the key. */
  readonly wants: (key: string, owner: string) => boolean
  /** It was not claimed after all. */
  readonly forget: (key: string, owner: string) => void
}

/** What the steps establish, in this order. A refusal comes with what was established before it. */
export type CallFacts = {
  readonly call: GovernedCall
  readonly now: UnixMillis
  readonly mandate: Mandate
  readonly zone: ZoneState
  readonly resource: Resource
  readonly application: Application
  /** Every id whose revocation ends the call: a running stream watches them (`RevocationView.watch`). */
  readonly cutBy: readonly string[]
  readonly match: OperationMatch
  readonly decision: Decision
  /** What of the call the rules read (`operation.body`, …): evidence then carries a digest of it. */
  readonly callReads: readonly string[]
  /** What the call took of budgets; null: nothing. Whoever forwards it settles or releases it. */
  readonly charge: Charge | null
}

/** What was decided about a call. Only `allow` may be forwarded, and only after the evidence of it is durable. */
export type CallVerdict<Facts = CallFacts> =
  | {
      readonly decision: 'allow'
      readonly facts: Facts
      /** When running streams end at the latest. */
      readonly expiresAt: UnixSeconds
      /** Place in the revocation broadcast that was decided with (P-038). */
      readonly revocationPosition: string
      /** Decided from memory while what it stands on could not be confirmed (D-28): within its bounds, and said aloud. */
      readonly degraded: boolean
      /** What has to be claimed with the evidence of the call, before it goes out; from then on `release` gives it back. Null: nothing. */
      readonly claim: () => Claim | null
      /** Somebody else had what was to be claimed: that is remembered, and everything else is given back. */
      readonly lost: () => Promise<void>
      /** Gives a single-use mandate and what was taken of budgets back: the call did not go out (P-066). */
      readonly release: () => Promise<void>
    }
  | {
      readonly decision: 'hold' | 'deny'
      readonly refusal: Refusal
      /** Name of the step that refused. */
      readonly at: string
      readonly facts: Partial<Facts>
      readonly approval?: RuleApproval
    }
