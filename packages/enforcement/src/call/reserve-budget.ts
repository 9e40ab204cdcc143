import {
  isId,
  type Money,
  ok,
  type RequestId,
  type Result,
  type Seconds,
  type SessionId,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import type { Mandate } from '../mandate/verify-mandate.ts'
import type { So } from './passage.ts'
import type { Awaitable } from './pipeline.ts'

/** What a call takes of the budgets of everybody on whose authority it is, before it goes out. */
export type ChargeRequest = {
  readonly zone: ZoneId
  readonly request: RequestId
  readonly what: {
    readonly application: string
    readonly subject: string | null
    readonly session: SessionId | null
    /** Identifier of the resource. */
    readonly resource: string
    readonly operation: string | null
  }
  /** Whose budgets pay, if they have one. */
  readonly holders: readonly string[]
  /** Null: it counts as a call only. */
  readonly price: Money | null
  readonly required: boolean
  /** The call may take this long until its answer begins. */
  readonly ttl: Seconds
}

/** What was taken. Once settled or released it is done, whatever is called after. */
export type Charge = {
  /** It is given back by itself then. */
  readonly expiresAt: UnixMillis
  /** It was taken of what this replica holds, while the store is away. */
  readonly unconfirmed?: boolean
  /** The call had its effect and cost this: a decimal of the price's currency; undefined: the price. Not waited for, and not forgotten. */
  readonly settle: (actual?: string) => void
  /** The call had no effect. */
  readonly release: () => Promise<void>
}

/** Where calls are charged. */
export type CallBudgets = {
  /** A call that no budget counts is refused. */
  readonly required: boolean
  /**
   * Takes it, of all who pay or of none; null when no budget counts it. Refuses `budget_exceeded`, `budget_required`,
   * `budget_currency`; a 503 when what is left cannot be known.
   */
  readonly reserve: (request: ChargeRequest) => Promise<Result<Charge | null>>
}

const UNCHARGED: Result<{ readonly charge: Charge | null }> = ok({ charge: null })

/**
 * Takes the price of the call of every budget along its lineage (P-045). A call that neither a budget nor the duty to have one concerns
 * asks nobody: whom budgets concern is part of what the replica knows of the zone, what is left of them is not.
 */
export function reserveBudget(so: So<'mandate' | 'zone' | 'resource' | 'match'>): Awaitable<Result<{ readonly charge: Charge | null }>> {
  const { budgets } = so.with
  if (budgets === undefined || !(budgets.required || isCounted(so))) return UNCHARGED
  return charge(so, budgets)
}

/** A budget in calls counts every call of its holder, one in money those that have a price. */
function isCounted({ zone, mandate, match }: So<'mandate' | 'zone' | 'match'>): boolean {
  if (zone.budgets.size === 0) return false
  const priced = match.operation?.price !== undefined
  return payersOf(mandate).some((holder) => {
    const counts = zone.budgets.get(holder)
    return counts !== undefined && (counts === 'calls' || priced)
  })
}

async function charge(
  { call, zone, mandate, resource, match }: So<'mandate' | 'zone' | 'resource' | 'match'>,
  { reserve, required }: CallBudgets,
): Promise<Result<{ readonly charge: Charge | null }>> {
  const { client_id: application, sub, ses } = mandate.claims
  const price = match.operation?.price
  const taken = await reserve({
    zone: zone.snapshot.id,
    request: call.requestId,
    what: {
      application,
      subject: sub === application ? null : sub,
      session: ses?.at(-1) ?? null,
      resource: resource.identifier,
      operation: match.operation === null ? null : `${match.operation.method} ${match.operation.path}`,
    },
    holders: payersOf(mandate),
    price: price === undefined ? null : { amount: price.amount, currency: price.currency },
    required,
    ttl: Math.ceil(resource.timeouts.connect + resource.timeouts.firstByte + resource.timeouts.idle),
  })
  return taken.ok ? ok({ charge: taken.value }) : taken
}

const PAYERS = ['application', 'session', 'delegation', 'subject'] as const

/**
 * Who pays for a call: everybody that it stands on. Whoever delegates, or hands on a mandate, pays for what is done with it, or a budget
 * would end at the first session that is somebody else's.
 */
export function payersOf({ revocable, claims }: Pick<Mandate, 'revocable' | 'claims'>): readonly string[] {
  const principals = (claims.ctx?.principals ?? []).map(({ application }) => application)
  return [...new Set([...revocable, ...principals])].filter((id) => PAYERS.some((kind) => isId(kind, id)))
}
