import { expect, test } from 'vitest'
import { newId } from '../id.ts'
import { compilePolicies } from './compile.ts'
import { parsePolicy } from './parse-policy.ts'
import { diffWhoCan, type WhoCanQuestion, whoCan } from './who-can.ts'

const QUESTION: WhoCanQuestion = {
  zone: { id: newId('zone', 0), name: 'z', labels: [] },
  applications: [
    { id: newId('application', 0), name: 'agent', labels: [] },
    { id: newId('application', 0), name: 'payout', labels: ['finance'] },
  ],
  resources: [{ id: newId('resource', 0), name: 'bank', identifier: 'https://bank.example', kind: 'http', scopes: ['pay', 'read'] }],
}

function answer(...rules: string[]) {
  const parsed = parsePolicy(
    `kind: Policy\nname: p\nrules:\n${rules.map((rule) => `  - { ${rule}, on: [https://bank.example] }\n`).join('')}`,
  )
  if (!parsed.ok) throw new Error(parsed.detail)
  const compiled = compilePolicies([parsed.value])
  if (!compiled.ok) throw new Error(compiled.detail)
  return whoCan(compiled.value, QUESTION)
}

const READ = 'id: read, allow: [read], for: { any: true }'

test('who can do what is what the engine decides at mint', () => {
  const entries = answer(READ, 'id: pay, allow: [pay], for: { labels: [finance] }, when: operation.body.amount < 5.0')
  expect(entries.map(({ application, scope, access, rules }) => [application, scope, access, ...rules])).toEqual([
    ['agent', 'pay', 'deny'],
    ['agent', 'read', 'allow', 'p/read'],
    ['payout', 'pay', 'depends', 'p/pay'],
    ['payout', 'read', 'allow', 'p/read'],
  ])
  expect(whoCan(null, QUESTION).every(({ access }) => access === 'deny')).toBe(true)
})

test('[P-032] a diff names every changed outcome in words, wider ones first', () => {
  const before = answer(READ)
  const after = answer(
    'id: read, hold: [read], for: { applications: [agent] }, approval: { tier: t }',
    'id: pay, allow: ["*"], for: { labels: [finance] }',
  )
  expect(diffWhoCan(before, after).map(({ wider, words }) => [wider, words])).toEqual([
    [true, 'payout: pay at https://bank.example is allowed (before: is denied)'],
    [false, 'agent: read at https://bank.example waits for approval (before: is allowed)'],
  ])
  expect(diffWhoCan(before, before)).toEqual([])
  expect(diffWhoCan(before, []).every(({ after: now }) => now === 'deny')).toBe(true)
})
