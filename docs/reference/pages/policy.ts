import {
  CONDITION_FUNCTIONS,
  CONDITION_LIMITS,
  CONDITION_MACROS,
  CONDITION_METHODS,
  CONDITION_VARIABLES,
  MAX_CONDITION_COST,
  MAX_MANDATE_LIFE,
  parsePolicy,
  READABLE,
} from '@caracal/core'
import { code, generatedFrom, page, table } from './markdown.ts'

/** Shows every member once; it is parsed when the page is made, so it cannot be wrong. */
const EXAMPLE = `kind: Policy
zone: bank                  # only where a file holds several zones' documents
name: payments
rules:
  - id: read
    allow: ["payments:read"]
    on: ["https://bank.example/api"]
    for: { applications: [payout-agent] }
  - id: small-payments
    allow: ["payments:create"]
    on: ["https://bank.example/api"]
    for: { labels: [finance], sessions: [task] }
    when: has(operation.body.amount) && operation.body.amount <= 500.0
    limits: { maxTtl: 2m, once: true }
  - id: a-human-for-the-rest
    hold: ["payments:create"]
    on: ["https://bank.example/api"]
    for: { labels: [finance] }
    when: operation.body.amount > 500.0
    approval: { tier: payments, approvers: ["role:approver"], ttl: 15m, distinctFromRequester: true }
  - id: frozen
    deny: ["*"]
    on: ["*"]
    for: { any: true }
    when: zone.labels.exists(l, l == "frozen")
`

const RULE: readonly (readonly [member: string, value: string, meaning: string])[] = [
  ['id', 'name', 'Unique in the policy. Decisions and evidence name the rule as `policy/rule`.'],
  ['allow, hold, deny', 'list of scopes', 'Exactly one of the three. A scope, or a prefix that ends in `*`.'],
  [
    'on',
    'list of resource identifiers',
    'An identifier, or a prefix that ends in `*`. End a host with `/`, or the prefix covers foreign hosts too.',
  ],
  ['for', 'see below', 'Whom the rule is about.'],
  ['when', 'CEL', 'The rule counts only where this is true. Absent: always.'],
  [
    'limits',
    '`maxTtl`, `senderConstrained`, `once`',
    `Not for deny. \`maxTtl\`: longest life of the mandate, up to ${MAX_MANDATE_LIFE} s. \`senderConstrained: true\`: it must be bound to a key. \`once: true\`: single use.`,
  ],
  [
    'approval',
    '`tier`, `approvers`, `ttl`, `distinctFromRequester`',
    'Only for hold, and required there. Default: `[role:approver]`, `15m`, `true`.',
  ],
]

const FOR: readonly (readonly [member: string, meaning: string])[] = [
  ['any: true', 'Everybody. Stands alone.'],
  ['applications', 'Names of applications.'],
  ['labels', 'Labels that an administrator gave the application.'],
  ['sessions', '`task`, `service`, or `none` for work without a session.'],
  ['subjects', '`issuer` and, if wanted, `claims` that must be equal, of the person it is done for.'],
]

const MEANINGS: Readonly<Record<keyof typeof CONDITION_VARIABLES, string>> = {
  zone: 'The zone. Labels are set by an administrator.',
  application: 'The application that acts. Labels are set by an administrator.',
  subject: 'The person or system it acts for. Empty strings and no claims when it acts for itself.',
  session: 'The session. Kind `none` and depth 0 without one; depth 1 is a root. **Labels are self-declared: never trust them alone.**',
  delegation: 'How many delegations the authority went through; 0 without.',
  resource: 'The resource: kind `http` or `mcp`.',
  scope: 'The scope being decided. Every decision is about exactly one.',
  mandate: 'What the mandate will be, or is. `ttl` in seconds.',
  operation: 'The call. Only while a call is decided.',
  request: 'Time of the call and address of the peer. Only while a call is decided.',
}

/** Grammar of a policy and what its conditions can read. */
export function policyPage(): string {
  const parsed = parsePolicy(EXAMPLE.replace(/^zone:.*\n/m, ''))
  if (!parsed.ok) throw new Error(`the example does not parse: ${parsed.detail}`)
  return page(
    '# Policy documents',
    generatedFrom('`packages/core/src/policy`'),
    'What rules mean and how to work with them: [Policies](../policies.md). This page is the grammar.',
    `\`\`\`yaml\n${EXAMPLE}\`\`\``,
    'Unknown, misspelled and repeated members are errors, reported with file, line and column, all at once.',
    '## A rule',
    table(
      ['Member', 'Value', 'Meaning'],
      RULE.map(([member, value, meaning]) => [code(member), value, meaning]),
    ),
    'A pattern is literal or a prefix that ends in `*`; nothing else in it has a special meaning. Durations are written `30s`, `15m`, `1h`.',
    '## `for`',
    table(
      ['Member', 'Matches'],
      FOR.map(([member, meaning]) => [code(member), meaning]),
    ),
    'All members that stand must match; within a list one is enough.',
    '## `when`: variables',
    'A condition is an expression of [CEL](https://cel.dev). Its types are checked when the policy is saved.',
    table(['Variable', 'Fields', 'Is'], Object.entries(CONDITION_VARIABLES).map(variableRow)),
    `Reading something that is not there fails the condition. \`operation.body\` is \`null\` without a body and cannot be read when it is not
JSON or larger than 64 KiB: test with \`has(operation.body.amount)\` first. What a failing condition does: [Policies](../policies.md#when-a-condition-fails).`,
    '## `when`: functions',
    `Operators of CEL, and:

- functions ${names(CONDITION_FUNCTIONS, '()')}
- methods ${names(CONDITION_METHODS, '()')}
- macros over a field or a list literal, at most two inside each other: ${names(CONDITION_MACROS, '()')}

There are no regular expressions, no time zones, no way to call out.`,
    '## `when`: limits',
    table(
      ['Of an expression, when it is saved', 'At most'],
      [
        ...Object.entries(CONDITION_LIMITS).map(([name, most]) => [inWords(name), most.toLocaleString('en')]),
        ['steps at worst', MAX_CONDITION_COST.toLocaleString('en')],
      ],
    ),
    table(
      ['Of a value, when it is read', 'At most'],
      Object.entries(READABLE).map(([name, most]) => [VALUE_LIMITS[name as keyof typeof READABLE], most.toLocaleString('en')]),
    ),
    'Whole numbers beyond 2^53 cannot be read: JSON does not carry them exactly. Put such ids into strings.',
  )
}

const VALUE_LIMITS: Readonly<Record<keyof typeof READABLE, string>> = {
  string: 'characters of a string',
  elements: 'elements of a list or map',
  depth: 'nesting',
  nodes: 'values in all',
  characters: 'characters in all',
}

function variableRow([name, fields]: [string, (typeof CONDITION_VARIABLES)[keyof typeof CONDITION_VARIABLES]]): string[] {
  const meaning = MEANINGS[name as keyof typeof CONDITION_VARIABLES]
  if (typeof fields === 'string') return [code(name), fields, meaning]
  const list = Object.entries(fields).map(([field, type]) => `${code(field)} ${type}`)
  return [code(name), list.join('<br>'), meaning]
}

function names(table: Readonly<Record<string, number>>, after: string): string {
  return Object.keys(table)
    .map((name) => code(name + after))
    .join(', ')
}

function inWords(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}
