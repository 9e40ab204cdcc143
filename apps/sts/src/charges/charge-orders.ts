import type { ChargeAnswer, ChargeDesk, ChargeOrder } from '@caracal/budgets'
import { AMOUNT, type ApplicationId, ID_PREFIXES, type IdKind, type RequestId, type SessionId, type ZoneId } from '@caracal/core'
import Type, { type Static } from 'typebox'

const IdOf = (kind: IdKind) => Type.String({ pattern: `^${ID_PREFIXES[kind]}_[0-7][0-9a-hjkmnp-tv-z]{25}$` })

const common = { zone: IdOf('zone'), request: IdOf('request') }

const ReserveBody = Type.Object({
  ...common,
  act: Type.Literal('reserve'),
  what: Type.Object({
    application: IdOf('application'),
    subject: Type.Union([Type.String({ maxLength: 512 }), Type.Null()]),
    session: Type.Union([IdOf('session'), Type.Null()]),
    resource: Type.String({ maxLength: 2048 }),
    operation: Type.Union([Type.String({ maxLength: 2048 }), Type.Null()]),
  }),
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

/** Orders of one call at most. */
export const MOST_ORDERS = 1_000

/** Body of `POST /internal/charges`. */
export const ChargesBody = Type.Object({
  orders: Type.Array(Type.Union([ReserveBody, SettleBody, ReleaseBody]), { maxItems: MOST_ORDERS }),
})

type OrderBody = Static<typeof ChargesBody>['orders'][number]

/** What became of one order. */
export type OrderAnswer = {
  readonly outcome: string
  readonly expiresAt?: number
  readonly reason?: string
  readonly data?: Readonly<Record<string, unknown>>
}

/**
 * Works through the orders of one call, those of each zone in one transaction with whatever else of that zone waits. Rejects when the
 * database is away: whoever asked repeats what it settles and releases, which is safe, and lets no call through.
 */
export async function workOrders(desk: ChargeDesk, bodies: readonly OrderBody[]): Promise<readonly OrderAnswer[]> {
  const answers = new Array<OrderAnswer>(bodies.length)
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
  const request = body.request as RequestId
  if (body.act === 'release') return [{ act: 'release', request }]
  if (body.act === 'settle') return [{ act: 'settle', request, actual: body.actual }]
  const { holders, price, required, ttl, what } = body
  const { application, subject, session, resource, operation } = what
  const call = { application: application as ApplicationId, subject, session: session as SessionId | null, resource, operation }
  return [{ act: 'reserve', request, what: call, holders, price, required, ttl }]
}

function answerOf(answer: ChargeAnswer): OrderAnswer {
  if (answer.act !== 'reserve') return { outcome: answer.outcome }
  const { result } = answer
  if (!result.ok) return { outcome: 'refused', reason: result.reason, ...(result.data === undefined ? {} : { data: result.data }) }
  return result.value.state === 'charged' ? { outcome: 'charged', expiresAt: result.value.expiresAt } : { outcome: 'unmetered' }
}
