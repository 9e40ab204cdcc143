import { randomBytes } from 'node:crypto'
import { freshDatabaseUrl } from '@caracal/harness'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { caracal } from '../e2e/installation.ts'
import { type CompactProcess, databaseSettings, startCompactProcess } from './compact-process.ts'

let environment: Record<string, string> = {}
const gateways: CompactProcess[] = []
let token = ''

beforeAll(async () => {
  environment = databaseSettings(await freshDatabaseUrl(), randomBytes(32).toString('base64'))
  // Both at once on an empty database, as two pods of one Deployment.
  gateways.push(...(await Promise.all([startCompactProcess({ environment }), startCompactProcess({ environment })])))
  await Promise.all(gateways.map((one) => one.ready()))
  const made = await caracal(
    ['token', 'create', 'first', '--role', 'admin', '--role', 'auditor', '--role', 'approver', '--role', 'operator', '--database'],
    environment,
  )
  expect(made.code, made.stderr).toBe(0)
  token = made.stdout.trim()
}, 120_000)

afterAll(async () => {
  await Promise.all(gateways.map((one) => one.end('SIGKILL')))
})

test('two processes of five roles on one Postgres: the canary passes at each', async () => {
  for (const gateway of gateways) {
    const ran = await gateway.caracal(['--json', 'canary'], { CARACAL_TOKEN: token })
    expect(ran.code, ran.stdout + ran.stderr + gateway.said()).toBe(0)
  }
}, 60_000)
