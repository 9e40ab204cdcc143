import { describe, expect, test } from 'vitest'
import { LineCounter, parseAllDocuments } from 'yaml'
import { canonicalJson } from '../canonical-json.ts'
import { parsePolicy, policyFromJson, policyFromNode } from './parse-policy.ts'
import type { PolicyProblem } from './problem.ts'

const PAYMENTS = `kind: Policy
name: payments
rules:
  - id: read
    allow: [payments:read]
    on: [https://bank.example/api]
    for: { applications: [payout-agent] }
  - id: small-payments
    allow: [payments:create]
    on: [https://bank.example/api]
    for: { labels: [finance] }
    when: delegation.depth <= 2 && operation.body.amount <= 500.0
    limits: { maxTtl: 2m, senderConstrained: true }
  - id: a-human-for-the-rest
    hold: [payments:create]
    on: [https://bank.example/api]
    for:
      labels: [finance]
      sessions: [task]
      subjects:
        - issuer: https://id.example
          claims: { department: treasury }
    when: operation.body.amount > 500.0
    approval: { tier: payments, approvers: [role:approver], ttl: 15m, distinctFromRequester: true }
  - id: frozen
    deny: ["*"]
    on: ["*"]
    for: { any: true }
    when: zone.labels.exists(l, l == "frozen")
`

function problemsOf(source: string): readonly PolicyProblem[] {
  const parsed = parsePolicy(source)
  return parsed.ok ? [] : parsed.problems
}

function documentOf(source: string) {
  const parsed = parsePolicy(source)
  if (!parsed.ok) throw new Error(parsed.detail)
  return parsed.value
}

/** A policy with one rule whose lines are given. */
function rule(...lines: string[]): string {
  return `kind: Policy\nname: p\nrules:\n  - ${lines.join('\n    ')}\n`
}

const BASE = ['id: r', 'allow: [s]', 'on: [https://a.example]', 'for: { any: true }']

describe('parsing a policy', () => {
  test('the example of the contract becomes data with durations in seconds', () => {
    const policy = documentOf(PAYMENTS)
    expect(policy.rules.map(({ id, effect }) => [id, effect])).toEqual([
      ['read', 'allow'],
      ['small-payments', 'allow'],
      ['a-human-for-the-rest', 'hold'],
      ['frozen', 'deny'],
    ])
    expect(policy.rules[1]?.limits).toEqual({ maxTtl: 120, senderConstrained: true })
    expect(policy.rules[2]?.approval).toEqual({ tier: 'payments', approvers: ['role:approver'], ttl: 900, distinctFromRequester: true })
    expect(policy.rules[2]?.for.subjects).toEqual([{ issuer: 'https://id.example', claims: { department: 'treasury' } }])
  })

  test('an approval that says only its tier asks another person with role approver within 15 minutes', () => {
    const policy = documentOf(rule('id: r', 'hold: [s]', 'on: ["*"]', 'for: { any: true }', 'approval: { tier: t }'))
    expect(policy.rules[0]?.approval).toEqual({ tier: 't', approvers: ['role:approver'], ttl: 900, distinctFromRequester: true })
  })

  test('what was stored as canonical JSON reads back as the same document', () => {
    const policy = documentOf(PAYMENTS)
    expect(policyFromJson(JSON.parse(canonicalJson(policy)))).toEqual({ ok: true, value: policy })
  })

  test('a document of a file with several is read in place, with the lines of the file', () => {
    const lines = new LineCounter()
    const file = `kind: Zone\nname: z\n---\n${rule(...BASE)}---\n${rule(...BASE, 'wen: "true"')}`
    const documents = parseAllDocuments(file, { lineCounter: lines, uniqueKeys: false })
    if (!Array.isArray(documents)) throw new Error('no documents')
    expect(policyFromNode(documents[1]?.contents, lines).ok).toBe(true)
    const second = policyFromNode(documents[2]?.contents, lines, { file: 'all.yaml' })
    expect(second).toMatchObject({ ok: false, detail: 'all.yaml:19:5 rules[0].wen: unknown key; did you mean when?' })
  })

  test('[P-026] every problem is reported at once, with line, column and field', () => {
    const source = `kind: Polizy
name: Payments
rules:
  - id: read
    allow: [payments:read]
    deny: [payments:write]
    on: [bank]
    for: { any: true }
    limts: { maxTtl: 2m }
  - id: read
    hold: ["a b"]
    on: ["https://*.example"]
    for: {}
    limits: { maxTtl: 120, once: yes }
`
    expect(problemsOf(source).map(({ line, column, path, message }) => `${line}:${column} ${path} ${message}`)).toEqual([
      '1:7 kind must be Policy',
      '2:7 name must be lower-case letters, digits and inner hyphens, at most 63',
      '9:5 rules[0].limts unknown key; did you mean limits?',
      '4:5 rules[0] needs exactly one of allow, hold, deny, has allow and deny',
      '7:10 rules[0].on[0] is not a resource identifier',
      '10:9 rules[1].id another rule has the id read',
      '11:12 rules[1].hold[0] is not a scope',
      '12:10 rules[1].on[0] must be a resource identifier, or a prefix of one that ends in *',
      '13:10 rules[1].for must say whom: any, applications, labels, sessions or subjects',
      '14:23 rules[1].limits.maxTtl must be a duration such as 300s, 15m or 1h',
      '14:34 rules[1].limits.once must be true or false',
      '10:5 rules[1] a hold rule needs approval',
    ])
  })

  test('[P-026] a misspelling of any one key is refused, in YAML and in stored JSON', () => {
    const keys = [...PAYMENTS.matchAll(/(?<=^|[\s{-])([a-zA-Z]+)(?=:\s)/gm)].filter(({ 0: key }) => key !== 'department')
    expect(keys.length).toBeGreaterThan(30)
    for (const { 0: key, index } of keys) {
      const mutated = `${PAYMENTS.slice(0, index)}${key}x${PAYMENTS.slice(index + key.length)}`
      const [line] = problemsOf(mutated).map((problem) => problem.line)
      expect(line, mutated.slice(index - 20, index + 20)).toBeGreaterThan(0)
    }
    const stored = canonicalJson(documentOf(PAYMENTS))
    for (const { 0: key, index } of stored.matchAll(/"([a-zA-Z]+)":/g)) {
      if (key.includes('department')) continue
      const mutated = `${stored.slice(0, index)}"x${key.slice(1)}${stored.slice(index + key.length)}`
      expect(policyFromJson(JSON.parse(mutated)).ok, key).toBe(false)
    }
  })

  test('[P-026] a duplicate of any one line of a mapping is refused', () => {
    const lines = PAYMENTS.split('\n')
    for (const [at, line] of lines.entries()) {
      if (!/^ *[a-zA-Z]+: ./.test(line)) continue
      const doubled = [...lines.slice(0, at + 1), line, ...lines.slice(at + 1)].join('\n')
      expect(problemsOf(doubled), line).toContainEqual(expect.objectContaining({ line: at + 2, message: 'stands twice' }))
    }
  })

  test.each([
    ['nothing', '', 'is empty'],
    ['two documents', `${rule(...BASE)}---\n${rule(...BASE)}`, 'holds more than one document'],
    ['a list', '- a\n', 'must be a mapping with kind, name, rules'],
    ['broken YAML', 'kind: [', 'Flow sequence in block collection must be sufficiently indented and end with a ]'],
    ['no rules', 'kind: Policy\nname: p\nrules: []\n', 'must not be empty'],
    ['a rule that is text', 'kind: Policy\nname: p\nrules: [a]\n', 'must be a mapping with id, on, for'],
    [
      'an alias',
      `${rule('id: &x r', 'allow: [s]', 'on: [https://a.example]', 'for: { applications: [*x ] }')}`,
      'aliases are not accepted',
    ],
    ['an anchor', rule('id: &x r', 'allow: [s]', 'on: [https://a.example]', 'for: { any: true }'), 'anchors are not accepted'],
    ['a tag', rule('id: !secret r', 'allow: [s]', 'on: [https://a.example]', 'for: { any: true }'), 'Unresolved tag: !secret'],
    ['a merge key', rule(...BASE, '<<: { once: true }'), 'unknown key'],
    ['a key without value', rule(...BASE, 'when:'), 'has no value'],
    ['a scope twice', rule('id: r', 'allow: [s, s]', 'on: ["*"]', 'for: { any: true }'), 's stands twice'],
    [
      'a star inside',
      rule('id: r', 'allow: [a*b]', 'on: ["*"]', 'for: { any: true }'),
      'must be a scope, or a prefix of one that ends in *',
    ],
    ['an unquoted number as scope', rule('id: r', 'allow: [1]', 'on: ["*"]', 'for: { any: true }'), 'must be a string'],
    ['any with others', rule('id: r', 'allow: [s]', 'on: ["*"]', 'for: { any: true, labels: [a] }'), 'any stands alone'],
    ['any: false', rule('id: r', 'allow: [s]', 'on: ["*"]', 'for: { any: false }'), 'must be true, or not stand'],
    ['an unknown session kind', rule('id: r', 'allow: [s]', 'on: ["*"]', 'for: { sessions: [job] }'), 'must be one of task, service, none'],
    [
      'a claim that is no string',
      rule('id: r', 'allow: [s]', 'on: ["*"]', 'for: { subjects: [{ issuer: i, claims: { a: 1 } }] }'),
      'must be a string',
    ],
    [
      'limits on deny',
      rule('id: r', 'deny: [s]', 'on: ["*"]', 'for: { any: true }', 'limits: { once: true }'),
      'a deny rule has no limits',
    ],
    ['a life past the longest', rule(...BASE, 'limits: { maxTtl: 1h }'), 'no mandate lives longer than 900s'],
    ['approval on allow', rule(...BASE, 'approval: { tier: t }'), 'only a hold rule has approval, this one is allow'],
    ['a duration of zero', rule(...BASE, 'limits: { maxTtl: 0s }'), 'must be a duration such as 300s, 15m or 1h'],
    ['a duration without unit', rule(...BASE, 'limits: { maxTtl: "300" }'), 'must be a duration such as 300s, 15m or 1h'],
  ])('%s is refused', (_what, source, message) => {
    expect(problemsOf(source).map((problem) => problem.message)).toContain(message)
  })

  test('a condition is checked when it is saved and its problem names the column', () => {
    const [problem] = problemsOf(rule(...BASE, 'when: zone.labels.exists(l, l == 1)'))
    expect(problem).toMatchObject({ line: 8, column: 33, path: 'rules[0].when' })
    expect(problem?.message).toContain('no such overload: string == int')
  })

  test('a text past the limit is refused before it is parsed', () => {
    expect(problemsOf(`# ${'x'.repeat(600_000)}`)[0]?.message).toBe('is larger than 524288 characters')
  })
})
