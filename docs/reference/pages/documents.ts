import type { TSchema } from 'typebox'
import {
  ApplicationDocument,
  BudgetDocument,
  ProviderDocument,
  ResourceDocument,
  resourceDefaults,
  ZoneDocument,
} from '../../../apps/api/src/apply/document-schemas.ts'
import { code, generatedFrom, page, table } from './markdown.ts'

type Words = Readonly<Record<string, string>>

const SHARED: Words = {
  kind: 'Which kind of document it is.',
  zone: 'Name of the zone. May be left out where the set has exactly one zone.',
  name: 'Unique in the zone.',
  labels: 'Given by an administrator; policies may trust them.',
}

const ZONE: Words = { ...SHARED, name: 'Unique in the installation.' }

const PROVIDER: Words = {
  ...SHARED,
  method: 'How the credential gets into the call.',
  hosts: 'Hosts it may ever be sent to. The upstream of every resource that uses it must be one of them.',
  placement: '`api_key` only: header or query parameter, its name, a prefix. In a query it needs `insecure_query_credential: true`.',
  username: '`basic` only.',
  tokenEndpoint: '`oauth2_client_credentials` only: where tokens are got.',
  clientId: '`oauth2_client_credentials` only.',
  clientAuthentication: '`oauth2_client_credentials` only: how the secret is sent.',
  scope: '`oauth2_client_credentials` only: scopes to ask for.',
  egressAllow: '`oauth2_client_credentials` only: non-public address ranges that the token endpoint may be in.',
  expiresAt: 'When the secret stops working, if known.',
  secret: 'Where `caracal apply` finds the secret. It is sealed; it can be replaced but not read again.',
}

const RESOURCE: Words = {
  ...SHARED,
  type: 'What speaks there.',
  identifier: 'Its name in mandates (`aud`) and in policies. Need not be reachable.',
  upstream: 'Base URL that calls go to; the path below the resource is appended unchanged.',
  provider: 'Name of the provider whose credential is injected. Absent: none.',
  scopes: 'What can be allowed.',
  operations:
    'Which method and path needs which scope, and what a call costs (`price`). Others are refused. Absent: there is one scope and every call needs it.',
  mandateLife: 'Life of a mandate when none is asked for.',
  once: 'Every mandate for it is single use.',
  egressAllow: 'Non-public address ranges that the upstream may be in. Without them only public addresses are called.',
  encodedSeparators: 'What `%2F` and `%5C` in a path are: refused, or a letter of the segment like any other.',
  maxBodyBytes: 'Largest request body.',
  timeouts: '`connect`, `firstByte`, `idle`, and `stream` for the silence of event streams.',
}

const BUDGET: Words = {
  ...SHARED,
  holder: 'Who is limited, and whatever stands below it. Stays as it is.',
  limit: 'Money of one currency, or calls. Amounts are text in quotes. The unit stays as it is.',
  per: 'The period that the limit is for. Absent: for good. Stays as it is.',
  window:
    '`calendar`: from the start of the period in UTC, weeks on Monday. `rolling`: the last so long; a month is 30 days. Stays as it is.',
}

/** The documents that `caracal apply` takes, Policy aside. */
export function documentsPage(): string {
  return page(
    '# Documents',
    generatedFrom('`apps/api/src/apply/document-schemas.ts`'),
    `\`caracal apply -f\` takes YAML files, several documents in a file if you like. A set is applied as a whole or not at all; applying it
again changes nothing. \`--plan\` says what would change. A worked example: [First resource](../first-resource.md).`,
    section('Zone', 'A trust boundary: its own keys, policy and ledger.', ZoneDocument, ZONE),
    section('Application', 'Software that authenticates: an agent, a service.', ApplicationDocument, SHARED),
    section('Provider', 'How the Gateway gets into an upstream.', ProviderDocument, PROVIDER),
    section('Resource', 'What is protected.', ResourceDocument, RESOURCE, defaults()),
    `In a path of \`operations\` a segment is literal, \`{name}\` (exactly one segment) or, last, \`{name+}\` (one or more). The most literal
one wins. A method is in upper case, or \`*\`.`,
    `A \`price\` is \`{ amount, currency, actual }\`: a decimal in quotes, a currency of ISO 4217 and, if the upstream says what a call really
cost, the header of its answer that does.`,
    section('Budget', 'What may be spent. See [Budgets](../budgets.md).', BudgetDocument, BUDGET, { window: 'calendar' }),
    '## Policy\n\nHas a page of its own: [Policy documents](policy.md).',
  )
}

function section(
  kind: string,
  is: string,
  schema: TSchema & { properties: Record<string, TSchema>; required?: string[] },
  words: Words,
  defaults: Words = {},
): string {
  const rows = Object.entries(schema.properties).map(([name, property]) => {
    const meaning = words[name]
    if (meaning === undefined) throw new Error(`${kind}.${name} has no words in the reference`)
    const required = schema.required?.includes(name) === true
    return [code(name), typeText(property), required ? '**required**' : code(defaults[name] ?? ''), meaning]
  })
  return [`## ${kind}`, is, table(['Member', 'Value', 'Default', 'Meaning'], rows)].join('\n\n')
}

function defaults(): Words {
  const { kind, ...rest } = resourceDefaults({ kind: 'Resource', name: 'x', identifier: 'x:', upstream: 'http://x', scopes: ['x'] })
  const shown = Object.entries({ type: kind, ...rest }).filter(([, value]) => !(Array.isArray(value) && value.length === 0))
  return Object.fromEntries(shown.map(([name, value]) => [name, typeof value === 'object' ? inline(value) : String(value)]))
}

function inline(value: object): string {
  return `{ ${Object.entries(value)
    .map(([name, one]) => `${name}: ${one}`)
    .join(', ')} }`
}

type Shape = {
  readonly type?: string
  readonly const?: unknown
  readonly enum?: readonly string[]
  readonly anyOf?: readonly TSchema[]
  readonly items?: TSchema
  readonly description?: string
  readonly properties?: Readonly<Record<string, TSchema>>
  readonly minimum?: number
  readonly maximum?: number
}

function typeText(schema: TSchema): string {
  const shape = schema as Shape
  if (shape.const !== undefined) return code(String(shape.const))
  if (shape.enum !== undefined) return shape.enum.map(code).join(', ')
  if (shape.description !== undefined) return bounds(shape) === '' ? shape.description : `${shape.description}, ${bounds(shape)}`
  if (shape.type === 'array' && shape.items !== undefined) return `list: ${typeText(shape.items)}`
  if (shape.type === 'object') return code(`{ ${Object.keys(shape.properties ?? {}).join(', ')} }`)
  return [shape.type ?? 'any', bounds(shape)].filter(Boolean).join(' ')
}

function bounds({ minimum, maximum }: Shape): string {
  return minimum === undefined || maximum === undefined ? '' : `${minimum.toLocaleString('en')} – ${maximum.toLocaleString('en')}`
}
