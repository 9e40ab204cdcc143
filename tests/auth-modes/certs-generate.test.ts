import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { pairFault } from '../../apps/gateway/src/tls-settings.ts'
import { caracal, type Ran } from '../e2e/installation.ts'

let home: string
let made: Ran
const certs = () => join(home, 'certs')
const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: home, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
const text = (name: string) => openssl('x509', '-in', join(certs(), name), '-noout', '-text')

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'caracal-certs-'))
  made = await caracal(['certs', 'generate', '--dir', certs(), '--host', 'gateway.example.com'])
  // Primes of that size take as long as they take.
}, 600_000)
afterAll(() => rmSync(home, { recursive: true, force: true }))

test('[4-06] the files of the page: RSA-4096, 365 days, self-signed, with names; openssl takes them, and so does the Gateway', () => {
  expect(made).toMatchObject({ code: 0 })
  expect(made.stdout.trim().split('\n').sort()).toEqual(
    ['ca.crt', 'ca.key', 'jwt_private.pem', 'jwt_public.pem', 'server.crt', 'server.key'].map((name) => join(certs(), name)),
  )
  expect(made.stderr).toContain('kubectl create secret generic caracal-tls')
  for (const [name, subject] of [
    ['server', 'caracal-gateway'],
    ['ca', 'caracal-ca'],
  ]) {
    const said = text(`${name}.crt`)
    expect(said).toContain(`Subject: CN = ${subject}`)
    expect(said).toContain('Public-Key: (4096 bit)')
    expect(openssl('verify', '-CAfile', join(certs(), `${name}.crt`), join(certs(), `${name}.crt`))).toContain('OK')
    const of = (kind: 'x509' | 'pkey', file: string, ...more: string[]) => openssl(kind, '-in', join(certs(), file), ...more)
    expect(of('x509', `${name}.crt`, '-noout', '-pubkey')).toBe(of('pkey', `${name}.key`, '-pubout'))
    const [from, to] = ['startdate', 'enddate'].map((when) =>
      Date.parse(String(of('x509', `${name}.crt`, '-noout', `-${when}`).split('=')[1])),
    )
    expect((Number(to) - Number(from)) / 86_400_000).toBe(365)
  }
  expect(text('server.crt')).toMatch(/DNS:caracal-gateway, .*DNS:localhost, IP Address:127\.0\.0\.1, DNS:gateway\.example\.com/)
  expect(text('ca.crt')).toContain('CA:TRUE')
  expect(text('server.crt')).toContain('CA:FALSE')
  expect(readFileSync(join(certs(), 'jwt_private.pem'), 'utf8')).toContain('BEGIN RSA PRIVATE KEY')
  expect(openssl('rsa', '-in', join(certs(), 'jwt_private.pem'), '-pubout')).toBe(readFileSync(join(certs(), 'jwt_public.pem'), 'utf8'))
  const read = (name: string) => readFileSync(join(certs(), name), 'utf8')
  expect(pairFault({ cert: read('server.crt'), key: read('server.key') })).toBeNull()
})

test('private files are their owner’s alone, and nothing is overwritten unasked', async () => {
  for (const name of ['server.key', 'ca.key', 'jwt_private.pem']) expect(statSync(join(certs(), name)).mode & 0o777).toBe(0o600)
  const before = readFileSync(join(certs(), 'server.key'), 'utf8')
  rmSync(join(certs(), 'ca.crt'))
  const again = await caracal(['certs', 'generate', '--dir', certs()])
  expect(again.code).toBe(1)
  expect(again.stderr).toMatch(/server\.key.*would be overwritten; nothing was written.*--force/s)
  expect(readFileSync(join(certs(), 'server.key'), 'utf8')).toBe(before)
  expect(() => statSync(join(certs(), 'ca.crt'))).toThrow()
})
