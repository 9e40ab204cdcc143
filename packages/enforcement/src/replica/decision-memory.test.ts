import type { Decision, Scope } from '@caracal/core'
import { expect, test } from 'vitest'
import type { Mandate } from '../mandate/verify-mandate.ts'
import { DecisionMemory } from './decision-memory.ts'

const mandate = (jti: string): Mandate => ({ claims: { jti }, scopes: new Set(), revocable: [] }) as unknown as Mandate
const decision: Decision = { effect: 'deny', reason: 'no_rule_allows', rules: [], perCall: false } as unknown as Decision
const scope = (text: string) => text as Scope

test('a decision is remembered for its mandate and its scope, and for no other', () => {
  const memory = new DecisionMemory(10)
  const [one, other] = [mandate('a'), mandate('a')]
  memory.set(one, scope('read'), decision)
  expect(memory.get(one, scope('read'))).toBe(decision)
  expect(memory.get(one, scope('write'))).toBeUndefined()
  expect(memory.get(other, scope('read'))).toBeUndefined()
})

test.each([0, 1, 3])('%i decisions at most: the mandate that came first goes first', (capacity) => {
  const memory = new DecisionMemory(capacity)
  const mandates = Array.from({ length: 5 }, (_, at) => mandate(String(at)))
  for (const one of mandates) memory.set(one, scope('read'), decision)
  expect(memory.size).toBe(capacity)
  expect(mandates.map((one) => memory.get(one, scope('read')) !== undefined)).toEqual(mandates.map((_, at) => at >= 5 - capacity))
})

test('what is said twice counts once', () => {
  const memory = new DecisionMemory(2)
  const one = mandate('a')
  memory.set(one, scope('read'), decision)
  memory.set(one, scope('read'), decision)
  memory.set(one, scope('write'), decision)
  expect(memory.size).toBe(2)
  expect(memory.get(one, scope('read'))).toBe(decision)
})
