import { apiConfiguration } from '@caracal/api'
import { auditConfiguration } from '@caracal/audit'
import { coordinatorConfiguration } from '@caracal/coordinator'
import { gatewayConfiguration } from '@caracal/gateway'
import { COMPONENTS, ConfigurationError } from '@caracal/service'
import { stsConfiguration } from '@caracal/sts'
import { expect, test } from 'vitest'
import { runtimeSecret } from './runtime-secret.ts'

const ROLES = {
  api: apiConfiguration,
  sts: stsConfiguration,
  gateway: gatewayConfiguration,
  audit: auditConfiguration,
  coordinator: coordinatorConfiguration,
} as const
type Role = keyof typeof ROLES

const data = runtimeSecret({
  database: { host: 'db.internal', port: 5432, name: 'caracal', user: 'caracal', sslMode: 'verify-full' },
  redis: { host: 'redis.internal', port: 6379, database: 0, tls: true },
  optional: ['sts-admin-token', 'audit-admin-token', 'metrics-bearer'],
  keep: {},
})

/** What a role says when its pod has every key that the contract mounts, but one. */
function problemsWithout(role: Role, missing: string | undefined): readonly string[] {
  const files = COMPONENTS[role].keys.map(({ key, setting }) => [`${setting}_FILE`, key] as const)
  const environment = { ...Object.fromEntries(files), ISSUER_URL: 'https://sts.company.dev', STS_URL: 'http://sts:8080' }
  const readFile = (key: string) => {
    const text = key === missing ? undefined : data[key]
    if (text === undefined) throw Object.assign(new Error('ENOENT'), { code: 'ENOENT' })
    return text
  }
  try {
    ROLES[role].parse(environment, { readFile })
    return []
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems.map(({ name, rule }) => `${name} ${rule}`)
    throw error
  }
}

const mounted = (Object.keys(ROLES) as Role[]).flatMap((role) => COMPONENTS[role].keys.map((key) => ({ role, ...key })))

test.each(Object.keys(ROLES) as Role[])('[1-08] %s starts with the keys that the contract mounts', (role) => {
  expect(problemsWithout(role, undefined)).toEqual([])
})

test.each(mounted)('[1-08] $role without $key: required is $required', ({ role, key, setting, required }) => {
  const problems = problemsWithout(role, key)
  expect(problems).toEqual(required ? [`${setting}_FILE cannot be read`] : [])
})
