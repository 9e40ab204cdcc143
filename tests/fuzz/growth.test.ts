import { threadCpuUsage } from 'node:process'
import { parsePolicy } from '@caracal/core'
import { parseJws, parsePath } from '@caracal/enforcement'
import { parseNote, parseVerifierKey, verifyBundle } from '@caracal/ledger'
import { parseForm, parseJsonBody, singleValues } from '@caracal/service'
import { describe, expect, test } from 'vitest'
import { parseRequestTarget } from '../../apps/gateway/src/request-target.ts'
import { compileCondition } from '../../packages/core/src/policy/condition.ts'
import { MAX_FORM_BYTES } from '../../packages/service/src/form.ts'

/** Processor time of this thread, so that a busy machine changes nothing. Each needs a tenth of it or less. */
const MOST_MS = 400

async function cost(work: () => unknown): Promise<number> {
  await work()
  const before = threadCpuUsage()
  await work()
  const { user, system } = threadCpuUsage(before)
  return (user + system) / 1000
}

const fill = (unit: string, size: number) => unit.repeat(Math.ceil(size / unit.length)).slice(0, size)
const encoded = (text: string) => Buffer.from(text).toString('base64url')

describe('the largest input that is looked at costs little, however it is made', () => {
  test.each<[string, () => unknown]>([
    ['path: an escape of an escape of an escape', () => parseRequestTarget(`/%${fill('25', 8000)}41`)],
    ['path: many escapes of escapes', () => parseRequestTarget(`/${fill('%2525252525', 8000)}`)],
    ['path: dots and parameters', () => parseRequestTarget(`/${fill('..;', 8100)}`)],
    ['path: dots that are none', () => parseRequestTarget(`/${fill('/...;%2e', 8000)}`)],
    ['path: slashes', () => parsePath(fill('/', 8192))],
    ['path: a percent sign at the end', () => parseRequestTarget(`/${fill('a', 8000)}%`)],
    [
      'form: names',
      () =>
        parseForm(
          Buffer.from(
            Array.from({ length: 12_000 }, (_, n) => `${n.toString(36)}=`)
              .join('&')
              .slice(0, MAX_FORM_BYTES),
          ),
        ),
    ],
    ['form: one name', () => singles(fill('a=1&', MAX_FORM_BYTES))],
    ['form: escapes', () => parseForm(Buffer.from(fill('%C3%A4', 65_532)))],
    ['JSON: nesting', () => parseJsonBody(Buffer.from(fill('[', 1 << 20)))],
    ['JSON: nesting that closes', () => parseJsonBody(Buffer.from(fill('{"a":', 500_000) + 1 + fill('}', 100_000)))],
    ['JSON: keys', () => parseJsonBody(Buffer.from(`{${Array.from({ length: 60_000 }, (_, n) => `"${n}":1`)}}`))],
    ['JSON: backslashes', () => parseJsonBody(Buffer.from(`"${fill('\\\\', 1 << 20)}"`))],
    ['JWS: dots', () => parseJws(fill('.', 16_384))],
    ['JWS: one long part', () => parseJws(`${encoded(fill('{"a":', 5000))}.${fill('A', 8000)}.`)],
    ['note: signatures', () => parseNote(`x\n\n${fill('— a AAAAAAA=\n', 65_000)}`)],
    ['note: blank lines', () => parseNote(fill('\n', 65_536))],
    ['verifier key: plus signs', () => parseVerifierKey(fill('+', 100_000))],
    ['verifier key: digits', () => parseVerifierKey(`a+${fill('0', 100_000)}+`)],
    ['condition: parentheses', () => compileCondition(fill('(', 4096))],
    ['condition: signs', () => compileCondition(fill('!-', 4096))],
    ['condition: operators', () => compileCondition(fill('1+', 4095))],
    ['condition: members', () => compileCondition(`operation.body${fill('.a', 4000)}`)],
    ['condition: lists', () => compileCondition(fill('[[1],', 4096))],
    ['condition: a string that does not end', () => compileCondition(`"${fill('\\', 4000)}`)],
  ])('%s', async (_, work) => {
    expect(await cost(work)).toBeLessThan(MOST_MS)
  })

  test.each<[string, string]>([
    ['aliases of aliases', Array.from({ length: 30 }, (_, n) => `a${n}: &a${n} [${n === 0 ? 'x' : fill(`*a${n - 1},`, 60)}]\n`).join('')],
    ['nesting in flow style', fill('[', 20_000)],
    ['nesting in block style', fill('- ', 20_000)],
    ['nested mappings', fill('{a: ', 20_000)],
    ['keys that stand twice', fill('a: 1\n', 20_000)],
    ['anchors', Array.from({ length: 3000 }, (_, n) => `- &a${n} x\n`).join('')],
    ['a quoted text that does not end', `"${fill('\\n ', 100_000)}`],
    ['comments', fill('#\n', 100_000)],
    ['documents', fill('---\n', 20_000)],
  ])('policy: %s', async (_, text) => {
    // A policy is written by an administrator, so it may take longer than what anybody may send.
    expect(await cost(() => parsePolicy(text))).toBeLessThan(MOST_MS * 5)
  })

  test('bundle: a line that does not end, and lines of nothing', async () => {
    const keys = [{ verifier: someKey() }]
    expect(await cost(() => verifyBundle(Buffer.alloc(1 << 20, 0x7b), { keys }))).toBeLessThan(MOST_MS)
    expect(await cost(() => verifyBundle(Buffer.alloc(20_000, 0x0a), { keys }))).toBeLessThan(MOST_MS * 5)
  })
})

function singles(text: string) {
  const form = parseForm(Buffer.from(text))
  return form.ok && singleValues(form.value)
}

function someKey() {
  const key = parseVerifierKey('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW')
  if (key === undefined) throw new Error('the key of the note package reads')
  return key
}
