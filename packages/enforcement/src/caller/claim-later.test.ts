import { newId } from '@caracal/core'
import { expect, test } from 'vitest'
import { rememberUses } from './guard-replay.ts'

const owners = [newId('request'), newId('request')] as const

/** A store that must not be asked. */
const untouched = {
  claim: () => Promise.reject(new Error('asked')),
  release: () => Promise.reject(new Error('asked')),
}

test('[P-017] what is claimed later is refused here to everybody else at once, without asking the store, until it is given back', () => {
  const [one, other] = owners
  const uses = rememberUses(untouched, 10)
  expect([uses.wants('k', one), uses.wants('k', other), uses.wants('k', one)]).toEqual([true, false, true])
  uses.forget('k', other)
  expect(uses.wants('k', other)).toBe(false)
  uses.forget('k', one)
  expect(uses.wants('k', other)).toBe(true)
})

test('a replica that remembers nothing leaves it to the store', () => {
  const [one, other] = owners
  const uses = rememberUses(untouched, 0)
  expect([uses.wants('k', one), uses.wants('k', other)]).toEqual([true, true])
})
