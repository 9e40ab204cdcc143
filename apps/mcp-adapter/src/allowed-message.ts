import { hash } from 'node:crypto'
import { canonicalJson, type Reason, type RequestId, type UnixSeconds } from '@caracal/core'
import {
  type CallDependencies,
  type CallVerdict,
  decideCall,
  type GovernedCall,
  mcpPath,
  noLongerAllowed,
  type PassageFacts,
} from '@caracal/enforcement'
import type { CallRequest, Established, Judged } from '@caracal/enforcement-point'
import { type Asked, askedBy, type Kind } from './asked-operation.ts'
import type { Message } from './message.ts'
import { couldUse } from './visible.ts'

/** A message that may be forwarded once the evidence of it is durable. */
export type AllowedMessage = {
  readonly asked: Asked
  readonly judged: Extract<Judged, { decision: 'allow' }>
  readonly facts: Established & PassageFacts
  /** When a running stream of it ends at the latest. */
  readonly expiresAt: UnixSeconds
  /** Why it would not be allowed any more as its zone is now. */
  readonly unallowed: () => Reason | null
  /** Gives back what was taken for it: it did not go out. */
  readonly release: () => Promise<void>
}

/** What may not be forwarded. `told`: what the caller learns of it, where that is less than the evidence says. */
export type RefusedMessage = {
  readonly kind: Kind
  readonly judged: Exclude<Judged, { decision: 'allow' }>
  readonly told: Extract<Judged, { decision: 'deny' | 'hold' }>['refusal']
  readonly tier?: string
}

export type Decided = { readonly allowed: AllowedMessage } | { readonly refused: RefusedMessage }

/**
 * Decides one message of a caller who may speak to this server. An operation is decided as every governed call is, single use, limits and
 * budgets included; anything else needs what was established at the door, and the right to call what it names. What the caller could
 * never call looks like what does not exist (P-088).
 */
export async function decideMessage(
  passage: PassageFacts,
  message: Message,
  requestId: RequestId,
  dependencies: CallDependencies,
): Promise<Decided> {
  const asked = askedBy(message)
  if (!asked.ok) return { refused: { kind: 'other', judged: { decision: 'deny', refusal: asked, facts: passage }, told: asked } }
  if (asked.value.as === 'operation') return decideOperation(passage, asked.value, message, requestId, dependencies)
  const method = message.kind === 'response' ? 'response' : message.method
  const facts = { ...passage, call: { ...passage.call, method } }
  if (asked.value.as === 'guarded') {
    const hidden = asked.value.names.find((one) => couldUse(passage, one.method, one.name, dependencies).could !== 'yes')
    if (hidden !== undefined) {
      const refusal = { ok: false, reason: 'operation_not_declared' } as const
      return { refused: { kind: asked.value.kind, judged: { decision: 'deny', refusal, facts }, told: UNKNOWN } }
    }
  }
  return { allowed: allowedPassage(passage, asked.value, method, dependencies) }
}

/** What does nothing by itself, for a caller who may come in. `method`: what evidence calls it. */
export function allowedPassage(passage: PassageFacts, asked: Asked, method: string, dependencies: CallDependencies): AllowedMessage {
  const facts = { ...passage, call: { ...passage.call, method } }
  return {
    asked,
    facts,
    judged: { decision: 'allow', facts, revocationPosition: dependencies.view.position() },
    expiresAt: passage.mandate.claims.exp,
    unallowed: () => passageLost(passage, dependencies),
    release: async () => {},
  }
}

const UNKNOWN = { ok: false, reason: 'not_found', detail: 'no such tool, resource or prompt' } as const

async function decideOperation(
  passage: PassageFacts,
  asked: Extract<Asked, { as: 'operation' }>,
  message: Message,
  requestId: RequestId,
  dependencies: CallDependencies,
): Promise<Decided> {
  const call: GovernedCall = {
    ...passage.call,
    requestId,
    method: asked.method,
    path: mcpPath(asked.name),
    body: async () => message.whole,
    mcp: { tool: asked.name, arguments: asked.arguments },
  }
  // Rate and load were looked at when the caller came in.
  const verdict = await decideCall(call, { ...dependencies, admit: undefined, shed: undefined })
  if (verdict.decision !== 'allow') return { refused: refusedOperation(verdict, passage, asked, dependencies) }
  const { facts, expiresAt, release } = verdict
  return {
    allowed: { asked, facts, judged: verdict, expiresAt, release, unallowed: () => noLongerAllowed(facts, message.whole, dependencies) },
  }
}

/** Steps at which it is decided whether the caller may do this at all. */
const ABOUT_THE_OPERATION: ReadonlySet<string> = new Set(['matchOperation', 'holdScope', 'decideScope', 'applyLimits'])

function refusedOperation(
  verdict: Exclude<CallVerdict, { decision: 'allow' }>,
  passage: PassageFacts,
  { kind, method, name }: Extract<Asked, { as: 'operation' }>,
  dependencies: CallDependencies,
): RefusedMessage {
  const { refusal, at } = verdict
  const refused = { kind, judged: verdict, ...(verdict.approval === undefined ? {} : { tier: verdict.approval.tier }) }
  if (!ABOUT_THE_OPERATION.has(at) || refusal.reason === 'malformed_path') return { ...refused, told: refusal }
  const { could } = couldUse(passage, method, name, dependencies)
  if (could === 'no') return { ...refused, told: UNKNOWN }
  return { ...refused, told: refusal }
}

/** Why a caller would not come in any more. */
function passageLost({ zone, application, resource }: PassageFacts, { state }: CallDependencies): Reason | null {
  const now = state.zone(zone.snapshot.id)
  if (now === zone) return null
  if (now === undefined || !now.applications.has(application.id)) return 'token_revoked'
  return now.resources.has(resource.id) ? null : 'resource_unknown'
}

type ArgumentsDigest = NonNullable<CallRequest['arguments']>

/** A message is never changed, and what was decided and what came of it name the same digest. */
const digests = new WeakMap<Message, ArgumentsDigest>()

/** Digest and size of what a message carries: what it says is not kept (P-093). */
export function digestOf(message: Message): ArgumentsDigest {
  const before = digests.get(message)
  if (before !== undefined) return before
  const text = textOf(message.kind === 'response' ? message.whole : (message.params.arguments ?? message.params))
  const digest = { sha256: hash('sha256', text), bytes: Buffer.byteLength(text) }
  digests.set(message, digest)
  return digest
}

/** RFC 8785, so that who has the arguments gets the same digest; what it does not define (half a surrogate pair) as JSON escapes it. */
function textOf(value: unknown): string {
  try {
    return canonicalJson(value)
  } catch {
    return JSON.stringify(value)
  }
}
