import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { loadContext } from './context.ts'
import { readSecretFile, urlArgument } from './secret-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'caracal-secret-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const secret = (mode: number) => {
  const file = join(folder, mode.toString(8))
  writeFileSync(file, 'the secret\n', { mode: 0o600 })
  chmodSync(file, mode)
  return file
}

test.each([
  [0o600, 'read'],
  [0o400, 'read'],
  [0o700, 'read'],
  [0o640, 'refused'],
  [0o644, 'refused'],
  [0o604, 'refused'],
  [0o620, 'refused'],
  [0o602, 'refused'],
  [0o660, 'refused'],
  [0o666, 'refused'],
  [0o777, 'refused'],
])('[P-156] a secret file of mode %o is %s', (mode, expected) => {
  const file = secret(mode)
  if (expected === 'read') expect(readSecretFile(file, 'It')).toBe('the secret')
  else
    expect(() => readSecretFile(file, 'The file of X')).toThrow(
      expect.objectContaining({ exitCode: 2, fix: `chmod 600 ${file}`, message: expect.stringContaining('The file of X') }),
    )
})

test('[P-156] the admin token of an open file is refused', () => {
  expect(loadContext({ CARACAL_TOKEN_FILE: secret(0o600) }).token).toBe('the secret')
  expect(() => loadContext({ CARACAL_TOKEN_FILE: secret(0o644) }).token).toThrow('can be read or changed by others')
})

test.each([
  ['postgres://u@h/db', 'postgres://u@h/db'],
  ['redis://h:1/0', 'redis://h:1/0'],
  ['nonsense', 'nonsense'],
])('[P-156] the URL %s holds no password and may stand on a command line', (text, expected) => {
  expect(urlArgument(text, '--database-url')).toBe(expected)
})

test('[P-156] a password is taken from a file, never from a command line', () => {
  expect(() => urlArgument('postgres://u:p%40ss@h/db', '--database-url')).toThrow(
    expect.objectContaining({ exitCode: 2, message: expect.not.stringContaining('ss@') }),
  )
  const file = join(folder, 'url')
  writeFileSync(file, 'postgres://u:pass@h/db\n', { mode: 0o600 })
  expect(urlArgument(`@${file}`, '--database-url')).toBe('postgres://u:pass@h/db')
  chmodSync(file, 0o644)
  expect(() => urlArgument(`@${file}`, '--database-url')).toThrow('can be read or changed by others')
})
