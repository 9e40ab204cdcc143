import Type from 'typebox'

/** How entities look in answers: what core calls them, times in Unix milliseconds. */

const stored = { version: Type.Integer(), createdAt: Type.Number(), updatedAt: Type.Number() }
const revocable = {
  revokedAt: Type.Optional(Type.Number({ description: 'Since when it is revoked; absent while it is not, and in answers to changes' })),
}
const inZone = { id: Type.String(), zone: Type.String(), name: Type.String() }

export const ZoneBody = Type.Object({ id: Type.String(), name: Type.String(), labels: Type.Array(Type.String()), ...revocable, ...stored })
export const ApplicationBody = Type.Object({ ...inZone, labels: Type.Array(Type.String()), ...revocable, ...stored })
export const ProviderBody = Type.Object(
  {
    ...inZone,
    kind: Type.String(),
    hosts: Type.Array(Type.String()),
    expiresAt: Type.Union([Type.Number(), Type.Null()]),
    ...revocable,
    ...stored,
  },
  { additionalProperties: true, description: 'With the members of its kind; never its secret' },
)
const PriceBody = Type.Object({ amount: Type.String(), currency: Type.String(), actual: Type.Optional(Type.String()) })
export const ResourceBody = Type.Object({
  ...inZone,
  kind: Type.String(),
  identifier: Type.String(),
  upstream: Type.String(),
  scopes: Type.Array(Type.String()),
  operations: Type.Array(
    Type.Object({ method: Type.String(), path: Type.String(), scope: Type.String(), price: Type.Optional(PriceBody) }),
  ),
  provider: Type.Union([Type.String(), Type.Null()]),
  mandateLife: Type.Integer(),
  once: Type.Boolean(),
  egressAllow: Type.Array(Type.String()),
  encodedSeparators: Type.String(),
  maxBodyBytes: Type.Integer(),
  timeouts: Type.Object({ connect: Type.Number(), firstByte: Type.Number(), idle: Type.Number(), stream: Type.Number() }),
  ...revocable,
  ...stored,
})
export const BudgetBody = Type.Object({
  ...inZone,
  holder: Type.String(),
  limit: Type.Union([Type.Object({ amount: Type.String(), currency: Type.String() }), Type.Object({ calls: Type.Integer() })]),
  window: Type.String(),
  per: Type.Union([Type.String(), Type.Null()]),
  standing: Type.Object({
    spent: Type.String(),
    reserved: Type.String(),
    /** What enforcement points hold, to spend it while the store is away. */
    held: Type.String(),
    remaining: Type.String(),
    resetsAt: Type.Union([Type.Number(), Type.Null()]),
  }),
  ...stored,
})
export const PolicyBody = Type.Object({ ...inZone, ...stored })
export const PolicyVersionBody = Type.Object({
  id: Type.String(),
  zone: Type.String(),
  policy: Type.String(),
  number: Type.Integer(),
  source: Type.String(),
  canonical: Type.String(),
  sha256: Type.String(),
  createdAt: Type.Number(),
  createdBy: Type.String(),
})
export const PolicySetVersionBody = Type.Object({
  id: Type.String(),
  zone: Type.String(),
  policySet: Type.String(),
  number: Type.Integer(),
  members: Type.Array(Type.Object({ policy: Type.String(), version: Type.String(), sha256: Type.String() })),
  sha256: Type.String(),
  createdAt: Type.Number(),
  createdBy: Type.String(),
})
export const SessionBody = Type.Object({ id: Type.String(), zone: Type.String(), state: Type.String() }, { additionalProperties: true })
export const DelegationBody = Type.Object({ id: Type.String(), zone: Type.String(), state: Type.String() }, { additionalProperties: true })

/** What a deletion did, or would do: which ids are revoked by it, and how much else ends with them. */
export const DeleteBody = Type.Object({
  dryRun: Type.Boolean(),
  deleted: Type.Boolean(),
  revokes: Type.Array(Type.Object({ kind: Type.String(), id: Type.String() })),
  affects: Type.Record(Type.String(), Type.Integer()),
})
