import { describe, expect, test } from 'vitest'
import { newId } from '../id.ts'
import { apiKeyText, idOfApiKey, isCertificateName } from './application-key.ts'

const SECRET = `${'A'.repeat(42)}_`

describe('the text of an API key', () => {
  test('names its id, whatever the secret holds', () => {
    const id = newId('credential')
    expect(idOfApiKey(apiKeyText(id, SECRET))).toBe(id)
    expect(idOfApiKey(apiKeyText(id, `${'-_'.repeat(21)}-`))).toBe(id)
  })

  const id = newId('credential').slice(4)
  test.each([
    '',
    'ck_',
    `ck_${id}`,
    `ck_${id}_`,
    `ck_${id}_${SECRET.slice(1)}`,
    `ck_${id}_${SECRET}A`,
    `ck_${id}_${SECRET}\n`,
    ` ck_${id}_${SECRET}`,
    `CK_${id}_${SECRET}`,
    `ck_${id.toUpperCase()}_${SECRET}`,
    `ck_${id.slice(1)}_${SECRET}`,
    `ck_8${id.slice(1)}_${SECRET}`,
    `ck_${id}_${SECRET.replace('A', '+')}`,
  ])('%j is none', (text) => {
    expect(idOfApiKey(text)).toBeUndefined()
  })
})

describe('names of certificates', () => {
  test.each([
    `sha256:${'0a'.repeat(32)}`,
    'subject:CN=agent',
    'subject:CN=agent,O=A\\, B,2.5.4.97=x',
    'subject:CN=Ä',
    'dns:a',
    'dns:agent-1.example.com',
    `dns:${'a'.repeat(63)}.example`,
    'uri:spiffe://example/ns/a',
    'uri:urn:uuid:1',
    'email:a+b@example.com',
  ])('%s', (text) => expect(isCertificateName(text)).toBe(true))

  test.each([
    '',
    'agent',
    ':x',
    'constructor:x',
    `sha256:${'0A'.repeat(32)}`,
    `sha256:${'0a'.repeat(31)}`,
    'subject:agent',
    'subject:CN=',
    'subject:CN=a\nO=b',
    'dns:*.example.com',
    'dns:a..b',
    'dns:Agent.example',
    `dns:${'a'.repeat(64)}`,
    'uri:noscheme',
    'uri:spiffe://a b',
    'email:a@b@c',
  ])('%j is none', (text) => expect(isCertificateName(text)).toBe(false))

  test('the longest input is looked at in no time', () => {
    const began = performance.now()
    for (const text of [`dns:${'a-'.repeat(50_000)}!`, `email:${'a'.repeat(100_000)}`, `subject:CN=${'a'.repeat(100_000)}`])
      expect(isCertificateName(text)).toBe(false)
    expect(performance.now() - began).toBeLessThan(1_000)
  })
})
