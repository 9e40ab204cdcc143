import Type, { type Static } from 'typebox'

const Whole = Type.String({ pattern: '^(?:0|[1-9][0-9]{0,19})$' })

/** What an enforcement point holds of a budget after it asked: amounts in millionths of its currency's unit, or calls. */
const HeldSlice = Type.Object({
  budget: Type.String(),
  amount: Whole,
  /** What it should hold at most. */
  target: Whole,
  turn: Type.Number(),
  /** It asked something later already: nothing changed. */
  stale: Type.Boolean(),
})

/** Answer of `POST /internal/charges`: one for each order, in their order. Members that are not named here are let through. */
export const ChargesReply = Type.Object({
  answers: Type.Array(
    Type.Object({
      /** `charged`, `unmetered`, `refused`; `held`; of a settlement, release or spending what became of it. */
      outcome: Type.String(),
      expiresAt: Type.Optional(Type.Number()),
      reason: Type.Optional(Type.String()),
      data: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
      slices: Type.Optional(Type.Array(HeldSlice)),
    }),
  ),
})

export type ChargeReply = Static<typeof ChargesReply>['answers'][number]
