import { type ChargeAnswer, type ChargeDesk, type ChargeOrder, MOST_SHARE } from '@caracal/budgets'
import {
  AMOUNT,
  type ApplicationId,
  type BudgetId,
  type ChargeReply,
  ID_PREFIXES,
  type IdKind,
  type RequestId,
  type SessionId,
  type ZoneId,
} from '@caracal/core'
import Type, { type Static } from 'typebox'

const IdOf = (kind: IdKind) => Type.String({ pattern: `^${ID_PREFIXES[kind]}_[0-7][0-9a-hjkmnp-tv-z]{25}$` })

const common = { zone: IdOf('zone'), request: IdOf('request') }

const What = Type.Object({
  application: IdOf('application'),
  subject: Type.Union([Type.String({ maxLength: 512 }), Type.Null()]),
  session: Type.Union([IdOf('session'), Type.Null()]),
  resource: Type.String({ maxLength: 2048 }),
  operation: Type.Union([Type.String({ maxLength: 2048 }), Type.Null()]),
})

const ReserveBody = Type.Object({
  ...common,
  act: Type.Literal('reserve'),
  what: What,
  holders: Type.Array(Type.String({ maxLength: 64 }), { maxItems: 256 }),
  price: Type.Union([
    Type.Object({ amount: Type.String({ pattern: AMOUNT.source }), currency: Type.String({ pattern: '^[A-Z]{3}$' }) }),
    Type.Null(),
  ]),
  required: Type.Boolean(),
  ttl: Type.Integer({ minimum: 1 }),
})

const SettleBody = Type.Object({
  ...common,
  act: Type.Literal('settle'),
  /** What an upstream said: what is no amount is the price. */
  actual: Type.Union([Type.String({ maxLength: 256 }), Type.Null()]),
})

const ReleaseBody = Type.Object({ ...common, act: Type.Literal('release') })

/** Millionths of a currency's unit, or calls. */
const Whole = Type.String({ pattern: '^(?:0|[1-9][0-9]{0,18})$' })

/** Who holds something of budgets: the name that an enforcement point gave its volume. */
const Point = Type.String({ pattern: '^[0-9a-f-]{36}$' })

const SpendBody = Type.Object({
  ...common,
  act: Type.Literal('spend'),
  point: Point,
  what: What,
  parts: Type.Array(Type.Object({ budget: IdOf('budget'), amount: Whole, money: Type.Boolean() }), { maxItems: 256 }),
  amount: Whole,
  currency: Type.Union([Type.String({ pattern: '^[A-Z]{3}$' }), Type.Null()]),
  actual: Type.Union([Type.String({ maxLength: 256 }), Type.Null()]),
  at: Type.Integer({ minimum: 0 }),
})

const HoldBody = Type.Object({
  act: Type.Literal('hold'),
  zone: IdOf('zone'),
  point: Point,
  ttlMs: Type.Integer({ minimum: 1_000, maximum: 3_600_000 }),
  budgets: Type.Array(
    Type.Object({
      budget: IdOf('budget'),
      turn: Type.Integer({ minimum: 0 }),
      most: Whole,
      share: Type.Integer({ minimum: 0, maximum: MOST_SHARE }),
      unit: Whole,
    }),
    { maxItems: 256 },
  ),
})

/** Orders of one call at most. */
export const MOST_ORDERS = 1_000

/** Body of `POST /internal/charges`. */
export const ChargesBody = Type.Object({
  orders: Type.Array(Type.Union([ReserveBody, SettleBody, ReleaseBody, SpendBody, HoldBody]), { maxItems: MOST_ORDERS }),
})

type OrderBody = Static<typeof ChargesBody>['orders'][number]

/**
 * Works through the orders of one call, those of each zone in one transaction with whatever else of that zone waits. Rejects when the
 * database is away: whoever asked repeats what it settles and releases, which is safe, and lets no call through.
 */
export async function workOrders(desk: ChargeDesk, bodies: readonly OrderBody[]): Promise<readonly ChargeReply[]> {
  const answers = new Array<ChargeReply>(bodies.length)
  const byZone = Map.groupBy(bodies.keys(), (at) => bodies[at]?.zone as ZoneId)
  await Promise.all(
    [...byZone].map(async ([zone, places]) => {
      const found = await desk.submit(
        zone,
        places.flatMap((at) => orderOf(bodies[at])),
      )
      for (const [index, at] of places.entries()) {
        const answer = found[index]
        if (answer !== undefined) answers[at] = answerOf(answer)
      }
    }),
  )
  return answers
}

function orderOf(body: OrderBody | undefined): readonly ChargeOrder[] {
  if (body === undefined) return []
  if (body.act === 'hold') {
    const budgets = body.budgets.map(({ budget, most, unit, ...rest }) => ({
      ...rest,
      budget: budget as BudgetId,
      most: BigInt(most),
      unit: BigInt(unit),
    }))
    return [{ act: 'hold', point: body.point, ttlMs: body.ttlMs, budgets }]
  }
  const request = body.request as RequestId
  if (body.act === 'release') return [{ act: 'release', request }]
  if (body.act === 'settle') return [{ act: 'settle', request, actual: body.actual }]
  const { application, subject, session, resource, operation } = body.what
  const call = { application: application as ApplicationId, subject, session: session as SessionId | null, resource, operation }
  if (body.act === 'spend') {
    const { point, amount, currency, actual, at } = body
    const parts = body.parts.map((part) => ({ ...part, budget: part.budget as BudgetId, amount: BigInt(part.amount) }))
    return [{ act: 'spend', request, point, what: call, parts, amount: BigInt(amount), currency, actual, at }]
  }
  const { holders, price, required, ttl } = body
  return [{ act: 'reserve', request, what: call, holders, price, required, ttl }]
}

function answerOf(answer: ChargeAnswer): ChargeReply {
  if (answer.act === 'hold')
    return {
      outcome: 'held',
      slices: answer.slices.map((slice) => ({ ...slice, amount: String(slice.amount), target: String(slice.target) })),
    }
  if (answer.act !== 'reserve') return { outcome: answer.outcome }
  const { result } = answer
  if (!result.ok) return { outcome: 'refused', reason: result.reason, ...(result.data === undefined ? {} : { data: result.data }) }
  return result.value.state === 'charged' ? { outcome: 'charged', expiresAt: result.value.expiresAt } : { outcome: 'unmetered' }
}
