import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { runtimeSecret } from '../runtime-secret.ts'
import { secretFindings } from './secret-findings.ts'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** A mounted Secret as `caracal secrets generate` makes it, with these changes; undefined takes a key away. */
function mounted(changes: Readonly<Record<string, string | undefined>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-mounted-'))
  folders.push(folder)
  const data = runtimeSecret({
    database: { host: 'db.internal', port: 5432, name: 'caracal', user: 'caracal', sslMode: 'verify-full' },
    redis: { host: 'redis.internal', port: 6379, database: 0, tls: true },
    optional: ['metrics-bearer'],
    keep: {},
  })
  for (const [key, value] of Object.entries({ ...data, ...changes }))
    if (value !== undefined) writeFileSync(join(folder, key), value, { mode: 0o600 })
  return folder
}

const failing = (folder: string, driver = 'redis') =>
  secretFindings(folder, driver)
    .filter(({ ok }) => !ok)
    .map(({ class: fault, message }) => `${fault}: ${message}`)

test('a Secret that was generated is complete and strong', () => {
  expect(failing(mounted())).toEqual([])
})

test.each([
  [{ zoneKek: undefined }, 'secret_key_missing: zoneKek is missing'],
  [{ adminToken: '' }, 'secret_key_missing: adminToken is empty'],
  [{ redisUrl: undefined }, 'secret_key_missing: redisUrl is missing'],
  [{ auditHmacKey: 'abc' }, 'secret_weak: auditHmacKey is not 64 hex digits (32 bytes)'],
  [{ streamsHmacKey: '0'.repeat(64) }, 'secret_weak: streamsHmacKey'],
  [{ coordinatorToken: 'changeme-changeme-changeme' }, 'secret_weak: coordinatorToken is a placeholder'],
  [{ metricsBearer: 'short' }, 'secret_weak: metricsBearer has fewer than 20 characters'],
  [{ databaseUrl: 'postgres' }, 'secret_weak: databaseUrl is not a URL'],
])('[1-08] %j is found', (changes, words) => {
  const found = failing(mounted(changes))
  expect(found).toHaveLength(1)
  expect(found[0]).toContain(words)
})

test('a value that serves two purposes is found', () => {
  const key = randomBytes(32).toString('hex')
  expect(failing(mounted({ auditHmacKey: key, gatewayStsHmacKey: key }))).toEqual([
    'secret_weak: gatewayStsHmacKey has the same value as auditHmacKey',
  ])
})

test('Redis is no part of it where Postgres carries the streams, and absent optional keys are none', () => {
  expect(failing(mounted({ redisUrl: undefined, metricsBearer: undefined }), 'postgres')).toEqual([])
})
