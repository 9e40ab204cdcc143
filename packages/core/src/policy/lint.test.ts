import { describe, expect, test } from 'vitest'
import { type KnownNames, lintPolicies } from './lint.ts'
import { parsePolicy } from './parse-policy.ts'

const KNOWN: KnownNames = {
  applications: ['agent', 'payout'],
  labels: ['finance'],
  resources: [{ identifier: 'https://a.example', scopes: ['s:read', 's:write'] }],
}

function lint(...rules: string[]): string[] {
  const parsed = parsePolicy(`kind: Policy\nname: p\nrules:\n${rules.map((rule) => `  - { ${rule} }\n`).join('')}`)
  if (!parsed.ok) throw new Error(parsed.detail)
  return lintPolicies([parsed.value], KNOWN).map(({ rule, field, code, severity }) => `${severity} ${rule} ${field} ${code}`)
}

const ON = 'on: [https://a.example]'
const ANY = 'for: { any: true }'

describe('lint', () => {
  test.each([
    ['nothing to say', [`id: r, allow: [s:read], ${ON}, for: { applications: [agent], labels: [finance] }`], []],
    [
      'an unknown application',
      [`id: r, allow: [s:read], ${ON}, for: { applications: [agent, agnet] }`],
      ['warning r for.applications[1] unknown_application'],
    ],
    [
      'a prefix that matches no application',
      [`id: r, allow: [s:read], ${ON}, for: { applications: ["x*"] }`],
      ['warning r for.applications[0] unknown_application'],
    ],
    ['an unknown label', [`id: r, allow: [s:read], ${ON}, for: { labels: [finanse] }`], ['warning r for.labels[0] unknown_label']],
    ['an unknown resource', [`id: r, allow: [s:read], on: [https://b.example], ${ANY}`], ['warning r on[0] unknown_resource']],
    ['an unknown scope', [`id: r, deny: [s:raed], ${ON}, ${ANY}`], ['warning r deny[0] unknown_scope']],
    ['a prefix that ends in the host', [`id: r, allow: [s:read], on: ["https://a.example*"], ${ANY}`], ['warning r on[0] open_prefix']],
    ['the same on a deny is only safer', [`id: r, deny: [s:read], on: ["https://a.example*"], ${ANY}`], []],
    [
      '[P-029] an allow on session labels alone',
      [`id: r, allow: [s:read], ${ON}, ${ANY}, when: 'session.labels.exists(l, l == "admin")'`],
      ['error r when self_declared_only'],
    ],
    [
      '[P-029] for every application is everybody too',
      [`id: r, allow: [s:read], ${ON}, for: { applications: ["*"] }, when: 'session.labels.exists(l, l == "admin")'`],
      ['error r when self_declared_only'],
    ],
    [
      'session labels beside a named application',
      [`id: r, allow: [s:read], ${ON}, for: { applications: [agent] }, when: 'session.labels.exists(l, l == "admin")'`],
      [],
    ],
    ['a deny on session labels is only stricter', [`id: r, deny: [s:read], ${ON}, ${ANY}, when: 'session.labels.exists(l, l == "x")'`], []],
    [
      'an allow that a deny always beats',
      [`id: r, allow: [s:read], ${ON}, for: { applications: [agent] }`, `id: d, deny: ["s:*"], ${ON}, ${ANY}`],
      ['warning r allow shadowed'],
    ],
    [
      'a deny with a condition shadows nothing',
      [`id: r, allow: [s:read], ${ON}, ${ANY}`, `id: d, deny: ["s:*"], ${ON}, ${ANY}, when: zone.name == "x"`],
      [],
    ],
    [
      'an allow within a wider one',
      [`id: wide, allow: ["s:*"], ${ON}, ${ANY}`, `id: r, allow: [s:read], ${ON}, for: { applications: [agent] }`],
      ['warning r allow shadowed'],
    ],
    [
      'of two equal allows the second',
      [`id: a, allow: [s:read], ${ON}, ${ANY}`, `id: b, allow: [s:read], ${ON}, ${ANY}`],
      ['warning b allow shadowed'],
    ],
    [
      'a narrower allow with limits is not shadowed: its limits merge',
      [`id: wide, allow: ["s:*"], ${ON}, ${ANY}`, `id: r, allow: [s:read], ${ON}, for: { applications: [agent] }, limits: { once: true }`],
      [],
    ],
    [
      '[P-028] holds of two tiers on one scope',
      [`id: a, hold: [s:read], ${ON}, ${ANY}, approval: { tier: t }`, `id: b, hold: ["s:*"], ${ON}, ${ANY}, approval: { tier: u }`],
      ['error b approval contradictory_holds'],
    ],
    [
      '[P-028] holds that may meet',
      [
        `id: a, hold: [s:read], ${ON}, ${ANY}, approval: { tier: t }`,
        `id: b, hold: [s:read], ${ON}, ${ANY}, approval: { tier: u }, when: session.depth > 1`,
      ],
      ['warning b approval contradictory_holds'],
    ],
    [
      'holds for different applications never meet',
      [
        `id: a, hold: [s:read], ${ON}, for: { applications: [agent] }, approval: { tier: t }`,
        `id: b, hold: [s:read], ${ON}, for: { applications: [payout] }, approval: { tier: u }`,
      ],
      [],
    ],
    [
      'holds that merge',
      [
        `id: a, hold: [s:read], ${ON}, ${ANY}, approval: { tier: t }`,
        `id: b, hold: [s:read], ${ON}, ${ANY}, approval: { tier: t, ttl: 1m }`,
      ],
      [],
    ],
  ])('%s', (_what, rules, expected) => {
    expect(lint(...rules)).toEqual(expected)
  })
})
