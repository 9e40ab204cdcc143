import { ConfigurationError } from '@caracal/service'
import { expect, test } from 'vitest'
import { checkedEnvironment } from './checked-environment.ts'
import { parseListen } from './compact-settings.ts'

const ROLES = ['api', 'sts', 'audit', 'coordinator'] as const
const GOOD = { DB_HOST: 'caracal-postgres', DB_PASSWORD: 'q8mPp3Gk2v9Xr7Lw', EVIDENCE: 'write-through' }

function problems(environment: Record<string, string>): readonly string[] {
  try {
    checkedEnvironment('gateway', ROLES, { ...GOOD, ...environment })
    return []
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    return error.problems.map(({ name, rule }) => `${name} ${rule}`)
  }
}

test('what the manifests leave at its default is enough', () => {
  expect(problems({})).toEqual([])
})

test.each([
  ['DB_HOST', '', /^DB_HOST is required/],
  ['DB_PORT', '0', /^DB_PORT must be between/],
  ['DB_PORT', 'postgres', /^DB_PORT must be a whole number/],
  ['DB_PASSWORD', '', /^DB_PASSWORD is required/],
  ['DB_PASSWORD', 'change-me-before-you-deploy', /^DB_PASSWORD is a placeholder/],
  ['DB_PASSWORD', 'short', /^DB_PASSWORD holds the key of this installation: it must have at least 16/],
  ['DB_SSLMODE', 'prefer', /^DB_SSLMODE must be one of/],
  ['DB_HOST', 'db.example.com', /^DB_SSLMODE may be disable only for a host that is one word/],
  ['DB_POOL_MAX', '3', /^DB_POOL_MAX must be between/],
  ['DB_POOL_TIMEOUT', '10', /^DB_POOL_TIMEOUT must be a number with its unit/],
  ['STREAMS_DRIVER', 'redis', /^STREAMS_DRIVER must be one of postgres/],
  ['ZONE_KEK', 'abc', /^ZONE_KEK must be 64 hex digits/],
  ['LOG_LEVEL', 'loud', /^LOG_LEVEL must be one of/],
  ['EVIDENCE', 'sometimes', /^EVIDENCE must be one of/],
  ['EVIDENCE', 'async', /^EVIDENCE may be async in dev only/],
  ['POLICY_CACHE', 'yes', /^POLICY_CACHE must be true or false/],
  ['POLICY_CACHE_TTL', '1h', /^POLICY_CACHE_TTL must be between/],
  ['POLICY_CACHE_SIZE', '-1', /^POLICY_CACHE_SIZE must be/],
  ['UPSTREAM_TIMEOUT', '0s', /^UPSTREAM_TIMEOUT must be between/],
  ['MAX_REQUEST_BYTES', '10MB', /^MAX_REQUEST_BYTES must be a whole number/],
  ['GATEWAY_LISTEN', '8443', /^GATEWAY_LISTEN must be an address and a port/],
  ['GATEWAY_LISTEN', '0.0.0.0:70000', /^GATEWAY_LISTEN must be an address and a port/],
  ['METRICS_PORT', 'many', /^METRICS_PORT must be a whole number/],
  ['ISSUER_URL', 'http://caracal.acme.io', /^ISSUER_URL must be https in stable/],
])('%s=%s stops the start and is named', (name, value, rule) => {
  const found = problems({ [name]: value })
  expect(found.filter((one) => rule.test(one))).toHaveLength(1)
})

test('everything that is wrong in any of the roles is one list, and no value is in it', () => {
  const found = problems({ DB_POOL_MAX: '0', LOG_LEVEL: 'loud-secret', POLICY_CACHE: 'yes', INGEST_BATCH: '0' })
  expect(found.map((one) => one.split(' ')[0]).sort()).toEqual(['DB_POOL_MAX', 'INGEST_BATCH', 'LOG_LEVEL', 'POLICY_CACHE'])
  expect(found.join()).not.toContain('loud-secret')
})

test.each(['rc', 'stable'])('[4-09] the placeholder of the manifests is refused in %s', (CARACAL_MODE) => {
  expect(problems({ CARACAL_MODE, DB_PASSWORD: 'change-me-before-you-deploy' })).toEqual([
    expect.stringMatching(/^DB_PASSWORD is a placeholder/),
  ])
})

test('the edge listens where it is told, every other role on loopback only', () => {
  const { edge } = checkedEnvironment('gateway', ROLES, { ...GOOD, GATEWAY_LISTEN: '0.0.0.0:9443', METRICS_PORT: '9191' })
  expect(edge).toMatchObject({ HOST: '0.0.0.0', PORT: 9443, METRICS_PORT: 9191 })
  expect(checkedEnvironment('sts', [], GOOD).edge).toMatchObject({ HOST: '127.0.0.1', PORT: 3001, METRICS_PORT: 0 })
  expect(parseListen('[::]:8443')).toEqual({ host: '::', port: '8443' })
})
