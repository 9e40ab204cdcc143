import Type, { type Static } from 'typebox'

/** Answer of `POST /internal/charges`: one for each order, in their order. Members that are not named here are let through. */
export const ChargesReply = Type.Object({
  answers: Type.Array(
    Type.Object({
      /** `charged`, `unmetered`, `refused`; of a settlement or release what became of it. */
      outcome: Type.String(),
      expiresAt: Type.Optional(Type.Number()),
      reason: Type.Optional(Type.String()),
      data: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    }),
  ),
})

export type ChargeReply = Static<typeof ChargesReply>['answers'][number]
