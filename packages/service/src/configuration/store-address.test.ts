import { expect, test } from 'vitest'
import { storeAddressProblems } from './store-address.ts'

const POD = { CARACAL_MODE: 'stable', POD_NAME: 'caracal-sts-0' } as const

test.each([
  ['DATABASE_URL', 'postgres://caracal:geheim-geheim@postgres.default.svc.cluster.local/caracal', 'stands in the values'],
  ['DATABASE_URL', 'postgres://caracal:geheim-geheim@localhost:5432/caracal', 'the pod itself'],
  ['DATABASE_URL', 'postgres://caracal:geheim-geheim@127.0.0.1:5432/caracal', 'the pod itself'],
  ['DATABASE_URL', 'postgres://caracal:changeme@db.internal/caracal', 'placeholder'],
  ['REDIS_URL', 'rediss://:geheim-geheim@redis.default.svc.cluster.local:6379/0', 'stands in the values'],
  ['REDIS_URL', 'rediss://:geheim-geheim@[::1]:6379/0', 'the pod itself'],
  ['REDIS_URL', 'rediss://redis.internal:6379/0', 'no password'],
] as const)('[0-12] %s %s is refused in stable and in rc, in dev it is not', (name, url, words) => {
  for (const CARACAL_MODE of ['stable', 'rc'] as const) {
    const problems = storeAddressProblems(name, url, { ...POD, CARACAL_MODE })
    expect(problems).toEqual([{ name, rule: expect.stringContaining(words) }])
    expect(JSON.stringify(problems)).not.toContain('geheim')
  }
  expect(storeAddressProblems(name, url, { ...POD, CARACAL_MODE: 'dev' })).toEqual([])
})

test.each([
  ['DATABASE_URL', 'postgres://caracal:geheim-geheim@db.internal:5432/caracal?sslmode=verify-full', 'caracal-api-1'],
  ['REDIS_URL', 'rediss://:geheim-geheim@redis.internal:6380/0', 'caracal-api-1'],
  ['DATABASE_URL', 'postgres://caracal@127.0.0.1:5432/caracal', undefined],
  ['REDIS_URL', 'redis://127.0.0.1:6379/0', undefined],
] as const)('%s %s is taken (pod: %s)', (name, url, POD_NAME) => {
  expect(storeAddressProblems(name, url, { CARACAL_MODE: 'stable', POD_NAME })).toEqual([])
})
