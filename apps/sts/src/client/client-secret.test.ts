import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { digestClientSecret, matchesSecret } from './client-secret.ts'

const pepper = fc.uint8Array({ minLength: 32, maxLength: 32 })
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 600 }),
  fc.base64String({ minLength: 44, maxLength: 47 }),
  fc.constant('\ud800'),
)

test('[P-007] a secret matches its own digest under its own pepper and nothing else, whatever it is made of', () => {
  fc.assert(
    fc.property(pepper, text, text, fc.array(text, { maxLength: 3 }), (key, secret, other, more) => {
      const digests = more.map((one) => digestClientSecret(key, one))
      const isOneOf = more.some((one) => Buffer.from(one).equals(Buffer.from(secret)))
      expect(matchesSecret(key, digests, secret)).toBe(isOneOf)
      // A short one after a long one is not the long one's beginning.
      expect(matchesSecret(key, [...digests, digestClientSecret(key, other)], other)).toBe(true)
      expect(matchesSecret(key, [...digests, digestClientSecret(key, secret)], secret)).toBe(true)
      expect(matchesSecret(Buffer.from(key.map((byte) => byte ^ 1)), [digestClientSecret(key, secret)], secret)).toBe(false)
    }),
  )
})

test('[P-006] nothing matches where there is no zone, no secret or no digest', () => {
  const key = randomBytes(32)
  const digest = digestClientSecret(key, 'secret')
  expect(matchesSecret(undefined, [digest], 'secret')).toBe(false)
  expect(matchesSecret(key, [], 'secret')).toBe(false)
  expect(matchesSecret(key, ['', digest.slice(1), `${digest}0`], 'secret')).toBe(false)
})
