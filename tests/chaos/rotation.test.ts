import { randomBytes } from 'node:crypto'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectNothingLost, quarantined } from './ledger.ts'
import { underLoad } from './load.ts'
import { notRestarted, untilAllReady } from './outage.ts'
import { type Stage, startStage } from './stage.ts'

const KEYS = ['ZONE_KEK', 'AUDIT_HMAC_KEY', 'STREAMS_HMAC_KEY', 'GATEWAY_STS_HMAC_KEY'] as const
const TOKENS = ['ADMIN_TOKEN', 'COORDINATOR_TOKEN', 'STS_ADMIN_TOKEN', 'AUDIT_ADMIN_TOKEN', 'METRICS_BEARER'] as const
/** Roles that take a setting; the Gateway holds no key of the zones and no login of the database. */
const HOLDERS: Readonly<Record<string, readonly string[]>> = {
  ZONE_KEK: ['sts', 'audit'],
  AUDIT_HMAC_KEY: ['sts', 'api', 'audit', 'coordinator', 'gateway'],
  STREAMS_HMAC_KEY: ['sts', 'api', 'audit', 'coordinator', 'gateway'],
  GATEWAY_STS_HMAC_KEY: ['sts', 'api', 'gateway'],
  ADMIN_TOKEN: ['api', 'audit'],
  COORDINATOR_TOKEN: ['coordinator'],
  STS_ADMIN_TOKEN: ['sts'],
  AUDIT_ADMIN_TOKEN: ['audit'],
  METRICS_BEARER: ['sts', 'api', 'audit', 'coordinator', 'gateway'],
  DATABASE_URL: ['sts', 'api', 'audit', 'coordinator'],
  REDIS_URL: ['sts', 'api', 'audit', 'coordinator', 'gateway'],
}

const folder = mkdtempSync(join(tmpdir(), 'caracal-rotation-'))
let stage: Stage

const make = (name: string) =>
  (KEYS as readonly string[]).includes(name) ? randomBytes(32).toString('hex') : `cat_${randomBytes(32).toString('base64url')}`
const path = (name: string) => join(folder, name)
const secretOf = (name: string) => stage.services.environment[name] ?? ''
const write = (name: string, text: string) => {
  writeFileSync(`${path(name)}.new`, `${text}\n`, { mode: 0o600 })
  renameSync(`${path(name)}.new`, path(name))
}

beforeAll(async () => {
  stage = await startStage({ secretsIn: folder, environment: { METRICS_BEARER: make('METRICS_BEARER') } })
})
afterAll(async () => {
  await stage?.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** How many new values every process of this setting's holders has taken so far. */
async function reread(roles: readonly string[]): Promise<Record<string, number>> {
  const counts = roles.map(async (role) => {
    const answer = await fetch(`${stage.services.service(role).metrics}/metrics`, {
      headers: { authorization: `Bearer ${stage.services.environment.METRICS_BEARER}` },
    })
    expect(answer.status, `metrics of ${role}`).toBe(200)
    return [role, Number(/^caracal_settings_reread_total (\d+)$/m.exec(await answer.text())?.[1] ?? 0)] as const
  })
  return Object.fromEntries(await Promise.all(counts))
}

/** Writes a file and waits until every holder has taken what it says. */
async function change(name: string, text: string): Promise<void> {
  const roles = HOLDERS[name] ?? []
  const before = await reread(roles)
  write(name, text)
  await expect
    .poll(
      async () => {
        // While its own token changes a scrape may be refused for the moment between the file and the look.
        const after = await reread(roles).catch(() => before)
        return roles.filter((role) => (after[role] ?? 0) <= (before[role] ?? 0))
      },
      { timeout: 30_000, interval: 250 },
    )
    .toEqual([])
}

test('[P-144] every key, token and login is rotated under load: no call is refused, nothing is lost or set aside, no process is started again', async () => {
  const sameProcesses = notRestarted(stage)
  const load = await underLoad(
    stage,
    async (load) => {
      for (const name of KEYS) {
        const [old, next] = [secretOf(name), make(name)]
        await change(name, `${old}\n${next}`)
        await change(name, `${next}\n${old}`)
        await load.firstGoodCall(performance.now())
        await change(name, next)
      }
      for (const name of TOKENS) {
        const [old, next] = [secretOf(name), make(name)]
        await change(name, name === 'METRICS_BEARER' ? `${old}\n${next}` : next)
        if (name !== 'ADMIN_TOKEN') continue
        for (const token of [old, next]) {
          const answer = await fetch(`${stage.services.urls.api}/v1/zones`, { headers: { authorization: `Bearer ${token}` } })
          expect(answer.status).toBe(200)
        }
      }
      const database = new pg.Client({ connectionString: secretOf('DATABASE_URL') })
      await database.connect()
      await database.query('CREATE ROLE second LOGIN SUPERUSER')
      const url = new URL(secretOf('DATABASE_URL'))
      url.username = 'second'
      await change('DATABASE_URL', url.href)
      await expect
        .poll(
          async () => (await database.query("SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name LIKE 'caracal-%'")).rows,
        )
        .toEqual([{ usename: 'second' }])
      await database.end()

      const redis = new Redis(secretOf('REDIS_URL'))
      await redis.call('ACL', 'SETUSER', 'caracal', 'on', '>a-long-password-of-redis', '~*', '&*', '+@all')
      redis.disconnect()
      await change('REDIS_URL', secretOf('REDIS_URL').replace('://', '://caracal:a-long-password-of-redis@'))
      await load.firstGoodCall(performance.now())
    },
    { administration: false },
  )
  sameProcesses()
  expect(Object.keys(load.tally()).filter((outcome) => !outcome.endsWith(' 200'))).toEqual([])
  await untilAllReady(stage)
  expect(await quarantined(stage)).toEqual([])
  await expectNothingLost(stage, load)
})
