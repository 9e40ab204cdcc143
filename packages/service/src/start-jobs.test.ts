import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freshDatabaseUrl } from '@caracal/harness'
import { type Database, type JobHold, JobLost, migrateUp, openDatabase } from '@caracal/postgres'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createLogger } from './logger.ts'
import { createMetrics } from './metrics.ts'
import { countOn, JOB } from './start-jobs.fixture.ts'
import { startJobs } from './start-jobs.ts'

const PROGRAM = fileURLToPath(new URL('./start-jobs.fixture.ts', import.meta.url))
const LEASE_MS = 1_500
const logger = createLogger({ name: 'test', level: 'silent' })

async function until(what: string, met: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 90_000
  while (!(await met())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`)
    await sleep(20)
  }
}

describe('jobs of several replicas', () => {
  let url: string
  let database: Database
  const children: ChildProcess[] = []
  const stops: (() => Promise<unknown>)[] = []

  beforeEach(async () => {
    url = await freshDatabaseUrl()
    database = await openDatabase({ url })
    await migrateUp(database)
    await sql`CREATE TABLE counted (number integer NOT NULL, pid integer NOT NULL)`.execute(database.query)
    await sql`GRANT SELECT, INSERT ON counted TO caracal_coordinator`.execute(database.query)
  })
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
    for (const stop of stops.splice(0).reverse()) await stop()
    await database.close()
  })

  const replica = (hang?: 'hang') => {
    const child = spawn(process.execPath, [PROGRAM, url, String(LEASE_MS), hang ?? ''], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    const said: string[] = []
    createInterface(child.stdout).on('line', (line) => said.push(line))
    return { child, said }
  }
  const here = (step: (hold: JobHold) => Promise<boolean>, over: { everyMs?: number; overdueMs?: number; leaseMs?: number } = {}) => {
    const metrics = createMetrics({ service: 'test', version: '1', mode: 'dev' })
    const { leaseMs = LEASE_MS, everyMs = 3_600_000, overdueMs = 3_600_000 } = over
    const job = { name: JOB, everyMs, overdueMs, step }
    const jobs = startJobs([job], { database: database.as('coordinator'), metrics, logger, leaseMs })
    stops.push(async () => {
      await jobs.stop()
      metrics.close()
    })
    return async (family: string) => Number(new RegExp(`^${family}\\{task="${JOB}"\\} (\\S+)$`, 'm').exec((await metrics.text()).body)?.[1])
  }
  const numbers = async () =>
    (await sql<{ number: number; pid: number }>`SELECT number, pid FROM counted ORDER BY number`.execute(database.query)).rows
  const fence = async () =>
    (await sql<{ fence: number }>`SELECT fence FROM jobs WHERE name = ${JOB}`.execute(database.query)).rows[0]?.fence ?? 0

  test('[P-117] when the replica that does a job is killed, another has it when the lease is over and runs it at once', async () => {
    const leader = replica('hang')
    await until('the leader to work', () => leader.said.includes('working'))
    const before = await fence()
    here(async (hold) => {
      await countOn(database.as('coordinator'), hold, async () => {})
      return false
    })
    const gone = once(leader.child, 'exit')
    leader.child.kill('SIGKILL')
    await gone
    // The next round would be in an hour.
    await until('another to do it', async () => (await numbers()).length > 0)
    expect(await numbers()).toEqual([{ number: 1, pid: process.pid }])
    expect(await fence()).toBeGreaterThan(before)
  }, 120_000)

  test('[P-117] what a frozen replica commits after its lease is fenced off, and the job was said to be overdue', async () => {
    const leader = replica()
    await until('the leader to work', () => leader.said.includes('working'))
    leader.child.kill('SIGSTOP')
    let go = () => {}
    const gate = new Promise<void>((resolve) => {
      go = resolve
    })
    let begun = false
    const metric = here(
      async (hold) => {
        begun = true
        await gate
        await countOn(database.as('coordinator'), hold, async () => {})
        return false
      },
      { overdueMs: 500 },
    )
    await until('another to take it', () => begun)
    await until('it to be overdue', async () => (await metric('caracal_task_overdue')) === 1)
    go()
    await until('another to do it', async () => (await numbers()).length > 0)
    leader.child.kill('SIGCONT')
    await until('the leader to notice', () => leader.said.some((line) => /^a job was lost in the middle/.test(line)))
    expect(leader.said).not.toContain('committed')
    expect((await numbers()).map(({ number }) => number)).toEqual([1])
    expect((await numbers())[0]?.pid).toBe(process.pid)
  }, 120_000)

  test('[P-117] replicas that lose a job to each other again and again do nothing of it twice', async () => {
    const thief = await openDatabase({ url })
    stops.push(() => thief.close())
    let steps = 0
    let lost = 0
    const meanwhile = async () => {
      steps += 1
      if (steps % 4 !== 0) return
      await sql`UPDATE jobs SET lease_until = clock_timestamp() WHERE name = ${JOB}`.execute(thief.query)
      // Time for another to take the job and to write the very number that this one is about to.
      await sleep(200)
    }
    const step = async (hold: JobHold) => {
      await countOn(database.as('coordinator'), hold, meanwhile).catch((error: unknown) => {
        if (error instanceof JobLost) lost += 1
        throw error
      })
      return true
    }
    for (let i = 0; i < 3; i += 1) here(step, { leaseMs: 300, everyMs: 10 })
    await until('numbers and losses', async () => lost >= 3 && (await numbers()).length >= 9)
    const found = (await numbers()).map(({ number }) => number)
    expect(found).toEqual(found.map((_, i) => i + 1))
  }, 120_000)

  test('[P-117] a run that wins goes on until nothing is left; success, time and failures are counted', async () => {
    let left = 5
    const step = async (hold: JobHold) => {
      await countOn(database.as('coordinator'), hold, async () => {})
      left -= 1
      return left > 0
    }
    const metric = here(step, { leaseMs: 15_000 })
    const row = async () =>
      (
        await sql<{ done: boolean | null; failures: number }>`
          SELECT last_succeeded >= last_started AND last_duration > interval '0' AS done, failures FROM jobs`.execute(database.query)
      ).rows[0]
    await until('all to be done', async () => (await row())?.done === true)
    expect((await numbers()).length).toBe(5)
    expect((await row())?.failures).toBe(0)
    expect(await metric('caracal_task_seconds_count')).toBe(1)
    expect(await metric('caracal_task_failures_total')).toBe(0)
    expect(await metric('caracal_task_last_success_seconds')).toBeGreaterThan(0)
  }, 120_000)

  test('[P-117] a job whose work does not end is overdue; one that fails counts it and is tried again', async () => {
    let end = () => {}
    let runs = 0
    const stuck = new Promise<void>((resolve) => {
      end = resolve
    })
    const metric = here(
      async () => {
        runs += 1
        if (runs === 1) await stuck
        if (runs < 3) throw new Error('not now')
        return false
      },
      { overdueMs: 200, everyMs: 50 },
    )
    await until('it to be overdue', async () => (await metric('caracal_task_overdue')) === 1)
    expect(runs).toBe(1)
    end()
    await until('it to end well', async () => (await metric('caracal_task_seconds_count')) >= 1)
    expect(await metric('caracal_task_failures_total')).toBe(2)
    await until('it to be overdue no more', async () => (await metric('caracal_task_overdue')) === 0)
  }, 120_000)
})
