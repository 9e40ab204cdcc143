import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { apiConfiguration } from '@caracal/api'
import { auditConfiguration } from '@caracal/audit'
import { coordinatorConfiguration } from '@caracal/coordinator'
import { gatewayConfiguration } from '@caracal/gateway'
import { stsConfiguration } from '@caracal/sts'
import { afterAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import type { CliError } from '../cli-error.ts'
import type { CommandContext } from './command.ts'
import { type GenerateOptions, generateSecrets } from './secrets.ts'

const folder = mkdtempSync(join(tmpdir(), 'caracal-secrets-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const DEFAULTS: GenerateOptions = {
  output: 'manifest',
  with: [],
  name: 'caracal-runtime',
  databasePort: '5432',
  databaseName: 'caracal',
  databaseUser: 'caracal',
  redisPort: '6379',
  redisDatabase: '0',
  redisPlaintext: false,
}
const MANAGED = { databaseHost: 'db.internal', redisHost: 'redis.internal' }

function generate(options: Partial<GenerateOptions>, json = false): string {
  const lines: string[] = []
  const context = { output: { json, line: (text = '') => void lines.push(text), note: () => {} } } as unknown as CommandContext
  generateSecrets(context, { ...DEFAULTS, ...options })
  return lines.join('\n')
}

const dataOf = (text: string) => (parse(text) as { stringData: Record<string, string> }).stringData

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text, { mode: 0o600 })
  return path
}

function refusal(options: Partial<GenerateOptions>): string {
  try {
    generate(options)
  } catch (error) {
    expect((error as CliError).exitCode).toBe(2)
    return (error as CliError).message
  }
  return ''
}

/** Environment names of keys: `zoneKek` → `ZONE_KEK`. */
const settingOf = (key: string) => key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

/** Which keys a role takes; the projection of the Secret into its environment. */
const ROLES = {
  api: [apiConfiguration, ['databaseUrl', 'redisUrl', 'auditHmacKey', 'streamsHmacKey', 'gatewayStsHmacKey', 'adminToken']],
  sts: [stsConfiguration, ['databaseUrl', 'redisUrl', 'zoneKek', 'auditHmacKey', 'streamsHmacKey', 'gatewayStsHmacKey', 'stsAdminToken']],
  gateway: [gatewayConfiguration, ['redisUrl', 'auditHmacKey', 'streamsHmacKey', 'gatewayStsHmacKey', 'metricsBearer']],
  audit: [auditConfiguration, ['databaseUrl', 'redisUrl', 'zoneKek', 'auditHmacKey', 'streamsHmacKey', 'auditAdminToken']],
  coordinator: [coordinatorConfiguration, ['databaseUrl', 'redisUrl', 'auditHmacKey', 'streamsHmacKey', 'coordinatorToken']],
} as const

describe('caracal secrets generate', () => {
  test('prints a Secret that kubectl takes, with every required key and no optional one', () => {
    const manifest = parse(generate(MANAGED)) as Record<string, unknown>
    expect(manifest).toMatchObject({ apiVersion: 'v1', kind: 'Secret', type: 'Opaque', metadata: { name: 'caracal-runtime' } })
    expect(Object.keys(manifest.stringData as object)).toEqual([
      'databaseUrl',
      'postgresPassword',
      'redisUrl',
      'zoneKek',
      'auditHmacKey',
      'streamsHmacKey',
      'gatewayStsHmacKey',
      'adminToken',
      'coordinatorToken',
    ])
  })

  test.each(Object.keys(ROLES))('what it makes is what %s starts with: nothing weak, nothing it refuses', (role) => {
    const [configuration, keys] = ROLES[role as keyof typeof ROLES]
    const data = dataOf(generate({ ...MANAGED, with: ['sts-admin-token', 'audit-admin-token', 'metrics-bearer'] }))
    const files = Object.fromEntries(keys.map((key) => [`${settingOf(key)}_FILE`, key]))
    const environment = { ...files, ISSUER_URL: 'https://sts.company.dev', STS_URL: 'http://sts:8080', CARACAL_MODE: 'stable' }
    expect(() => configuration.parse(environment, { readFile: (path) => data[path] ?? '' })).not.toThrow()
  })

  test('no two values are the same, and no two runs make the same', () => {
    const first = Object.values(dataOf(generate(MANAGED)))
    const second = Object.values(dataOf(generate(MANAGED)))
    expect(new Set([...first, ...second]).size).toBe(first.length + second.length)
  })

  test('the dev profile needs nothing else: the chart’s own Postgres, no Redis', () => {
    const data = dataOf(generate({ profile: 'dev' }))
    const url = new URL(data.databaseUrl ?? '')
    expect([url.host, url.pathname, url.search]).toEqual(['caracal-postgres:5432', '/caracal', '?sslmode=disable'])
    expect(decodeURIComponent(url.password)).toBe(data.postgresPassword)
    expect(data).not.toHaveProperty('redisUrl')
  })

  test('[2-11] passwords with any character come back whole from the URLs', () => {
    const password = `a/b+c=d@e:f%g h?i#j&k'"`
    const data = dataOf(
      generate({
        ...MANAGED,
        databaseUser: 'ca/ra@cal',
        databasePasswordFile: file('database', password),
        redisPasswordFile: file('redis', password),
      }),
    )
    const [database, redis] = [new URL(data.databaseUrl ?? ''), new URL(data.redisUrl ?? '')]
    expect([database.username, database.password, redis.password].map(decodeURIComponent)).toEqual(['ca/ra@cal', password, password])
    expect(database.searchParams.get('sslmode')).toBe('verify-full')
    expect(redis.protocol).toBe('rediss:')
  })

  test('values for an evaluation carry the same keys', () => {
    const { secrets } = parse(generate({ ...MANAGED, output: 'values' })) as { secrets: { plaintext: Record<string, string> } }
    expect(Object.keys(secrets.plaintext)).toEqual(Object.keys(dataOf(generate(MANAGED))))
  })

  test('--keep adds what is missing and changes nothing that is there', () => {
    const before = dataOf(generate(MANAGED))
    const data = Object.fromEntries(Object.entries(before).map(([key, value]) => [key, Buffer.from(value).toString('base64')]))
    const after = dataOf(generate({ keep: file('kept.json', JSON.stringify({ kind: 'Secret', data })), with: ['metrics-bearer'] }))
    const { metricsBearer, ...rest } = after
    expect(rest).toEqual(before)
    expect(metricsBearer).toMatch(/^cat_[\w-]{43}$/)
  })

  test('with --json it is one JSON document', () => {
    expect(JSON.parse(generate(MANAGED, true))).toMatchObject({ kind: 'Secret' })
  })

  test.each([
    [{ output: 'toml' }, '-o is one of'],
    [{ ...MANAGED, profile: 'prod' }, '--profile is dev'],
    [{ ...MANAGED, with: ['root-token'] }, '--with takes'],
    [{ redisHost: 'r' }, '--database-host is missing'],
    [{ databaseHost: 'd' }, '--redis-host is missing'],
    [{ ...MANAGED, databasePort: '0' }, '--database-port is a port'],
    [{ ...MANAGED, databaseSslmode: 'disable' }, 'for --profile dev only'],
    [{ ...MANAGED, databaseSslmode: 'prefer' }, '--database-sslmode is one of'],
    [{ ...MANAGED, redisPlaintext: true }, 'for --profile dev only'],
    [{ ...MANAGED, redisDatabase: 'x' }, '--redis-database'],
    [{ ...MANAGED, databasePasswordFile: file('short', 'short') }, 'fewer than 12'],
    [{ ...MANAGED, keep: file('broken.json', '{') }, '--keep is not JSON'],
    [{ ...MANAGED, keep: file('list.json', '[]') }, '--keep is not a Secret'],
  ] as const)('%j is wrong use', (options, words) => {
    expect(refusal(options as Partial<GenerateOptions>)).toContain(words)
  })
})
