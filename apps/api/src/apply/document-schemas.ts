import { AMOUNT, BUDGET_PERIODS, NAME, RESOURCE_DEFAULTS } from '@caracal/core'
import { type Static, Type } from 'typebox'
import { withPlainPrices } from './check-budget.ts'

const strict = { additionalProperties: false } as const

const Name = Type.String({ pattern: NAME.source, description: 'lower-case letters, digits and inner hyphens, at most 63' })
const Label = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$', description: 'letters, digits and . _ / -, at most 63' })
const Labels = Type.Array(Label, { maxItems: 64, uniqueItems: true })
const Scope = Type.String({
  pattern: '^[\\x21\\x23-\\x29\\x2b-\\x5b\\x5d-\\x7e]{1,128}$',
  description: 'printable ASCII without space, quotes, backslash and *',
})
const Seconds = Type.Number({ exclusiveMinimum: 0, maximum: 86_400, description: 'seconds' })
const Cidr = Type.String({ pattern: '^[0-9a-fA-F.:]+/[0-9]{1,3}$', description: 'an address range such as 10.0.0.0/8' })
const Host = Type.String({
  pattern: '^[A-Za-z0-9.-]+(:[0-9]{1,5})?$|^\\[[0-9a-fA-F:]+\\](:[0-9]{1,5})?$',
  description: 'a host, or host:port',
})

const Amount = Type.String({
  pattern: AMOUNT.source,
  description: 'a decimal in quotes with at most 12 digits and six places, such as "0.02"',
})
const Currency = Type.String({ pattern: '^[A-Z]{3}$', description: 'a currency of ISO 4217, such as EUR' })

/** What a call of an operation costs; `actual` names the header of the answer that says it exactly. */
export const PriceText = Type.Object(
  {
    amount: Amount,
    currency: Currency,
    actual: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$", description: 'the name of a header' })),
  },
  strict,
)

/** A secret never stands in a document that is kept: it comes from the environment or a file of whoever applies. */
const Secret = Type.Union(
  [Type.Object({ fromEnv: Type.String({ minLength: 1 }) }, strict), Type.Object({ fromFile: Type.String({ minLength: 1 }) }, strict)],
  { description: '{ fromEnv: NAME } or { fromFile: path }' },
)

export const ZoneDocument = Type.Object({ kind: Type.Literal('Zone'), name: Name, labels: Type.Optional(Labels) }, strict)

export const ApplicationDocument = Type.Object(
  { kind: Type.Literal('Application'), zone: Type.Optional(Name), name: Name, labels: Type.Optional(Labels) },
  strict,
)

export const ProviderDocument = Type.Object(
  {
    kind: Type.Literal('Provider'),
    zone: Type.Optional(Name),
    name: Name,
    method: Type.Enum(['none', 'api_key', 'bearer', 'basic', 'oauth2_client_credentials']),
    hosts: Type.Array(Host, { minItems: 1, maxItems: 64 }),
    placement: Type.Optional(
      Type.Object(
        {
          in: Type.Enum(['header', 'query']),
          name: Type.String({ pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$" }),
          prefix: Type.Optional(Type.String({ maxLength: 64 })),
          insecure_query_credential: Type.Optional(Type.Literal(true)),
        },
        strict,
      ),
    ),
    username: Type.Optional(Type.String({ minLength: 1, maxLength: 256, pattern: '^[^:\\x00-\\x1f]+$' })),
    tokenEndpoint: Type.Optional(Type.String({ pattern: '^https?://' })),
    clientId: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
    clientAuthentication: Type.Optional(Type.Enum(['client_secret_basic', 'client_secret_post'])),
    scope: Type.Optional(Type.String({ maxLength: 1024 })),
    egressAllow: Type.Optional(Type.Array(Cidr, { maxItems: 64 })),
    expiresAt: Type.Optional(
      Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?Z$', description: 'RFC 3339, UTC' }),
    ),
    secret: Type.Optional(Secret),
  },
  strict,
)

export const ResourceDocument = Type.Object(
  {
    kind: Type.Literal('Resource'),
    zone: Type.Optional(Name),
    name: Name,
    type: Type.Optional(Type.Enum(['http', 'mcp'])),
    identifier: Type.String({ maxLength: 2048, pattern: '^[a-z][a-z0-9+.-]*:[^#\\s]+$', description: 'an absolute URI without fragment' }),
    upstream: Type.String({ maxLength: 2048, pattern: '^https?://[^?#\\s]+$', description: 'an http or https URL without query' }),
    provider: Type.Optional(Name),
    scopes: Type.Array(Scope, { minItems: 1, maxItems: 256, uniqueItems: true }),
    operations: Type.Optional(
      Type.Array(
        Type.Object(
          // Of an MCP server: a method of the protocol and a name. Which of the two it must be is looked at with the type.
          {
            method: Type.String({ pattern: '^(\\*|[A-Z]{1,32}|[a-z][A-Za-z]*(/[A-Za-z_]+){0,3})$' }),
            path: Type.String({ minLength: 1, maxLength: 1024 }),
            scope: Scope,
            price: Type.Optional(PriceText),
          },
          strict,
        ),
        { maxItems: 2_000 },
      ),
    ),
    mandateLife: Type.Optional(Type.Integer({ minimum: 1, maximum: 900, description: 'seconds' })),
    once: Type.Optional(Type.Boolean()),
    egressAllow: Type.Optional(Type.Array(Cidr, { maxItems: 64 })),
    encodedSeparators: Type.Optional(Type.Enum(['refuse', 'literal'])),
    maxBodyBytes: Type.Optional(Type.Integer({ minimum: 0, maximum: 1024 ** 3 })),
    timeouts: Type.Optional(
      Type.Object(
        {
          connect: Type.Optional(Seconds),
          firstByte: Type.Optional(Seconds),
          idle: Type.Optional(Seconds),
          stream: Type.Optional(Seconds),
        },
        strict,
      ),
    ),
  },
  strict,
)

export const BudgetDocument = Type.Object(
  {
    kind: Type.Literal('Budget'),
    zone: Type.Optional(Name),
    name: Name,
    holder: Type.String({
      minLength: 1,
      maxLength: 63,
      description: 'the name of an application, or the id of a session, delegation or subject',
    }),
    limit: Type.Union(
      [
        Type.Object({ amount: Amount, currency: Currency }, strict),
        Type.Object({ calls: Type.Integer({ minimum: 0, maximum: 1_000_000_000_000 }) }, strict),
      ],
      { description: '{ amount: "25.00", currency: EUR } or { calls: 1000 }' },
    ),
    per: Type.Optional(Type.Enum([...BUDGET_PERIODS])),
    window: Type.Optional(Type.Enum(['calendar', 'rolling'])),
  },
  strict,
)

export type BudgetDocument = Static<typeof BudgetDocument>
export type ZoneDocument = Static<typeof ZoneDocument>
export type ApplicationDocument = Static<typeof ApplicationDocument>
export type ProviderDocument = Static<typeof ProviderDocument>
export type ResourceDocument = Static<typeof ResourceDocument>

/** What a resource is when a document leaves it out: the second apply of the same document must find no difference. */
export function resourceDefaults(document: ResourceDocument) {
  return {
    kind: document.type ?? 'http',
    operations: withPlainPrices(document.operations ?? []),
    mandateLife: document.mandateLife ?? RESOURCE_DEFAULTS.mandateLife,
    once: document.once ?? RESOURCE_DEFAULTS.once,
    egressAllow: document.egressAllow ?? [],
    encodedSeparators: document.encodedSeparators ?? RESOURCE_DEFAULTS.encodedSeparators,
    maxBodyBytes: document.maxBodyBytes ?? RESOURCE_DEFAULTS.maxBodyBytes,
    timeouts: { ...RESOURCE_DEFAULTS.timeouts, ...document.timeouts },
  } as const
}
