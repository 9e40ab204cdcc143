import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { findLogHead, readEntries } from '@caracal/postgres'
import { afterEach, describe, expect, test } from 'vitest'
import { event, openWorld, until, type World } from '../test-support/world.ts'
import { verifyTree } from '../verification/verify-tree.ts'

const PROGRAM = fileURLToPath(new URL('../test-support/audit-process.ts', import.meta.url))
const EVENTS = 6_000

describe.each(['server', 'redis'] as const)('a killed consumer (%s)', (kind) => {
  let world: World | undefined
  let child: ChildProcess | undefined
  afterEach(async () => {
    child?.kill('SIGKILL')
    await world?.close()
  })

  test('[P-102] [P-114] killed again and again in the middle of batches, every event is in the log exactly once', async () => {
    const here = await openWorld(kind, { start: false, environment: { INGEST_BATCH: '64' } })
    world = here
    const start = async () => {
      const started = spawn(process.execPath, [PROGRAM, JSON.stringify(here.environment)], { stdio: ['ignore', 'pipe', 'inherit'] })
      child = started
      await once(started.stdout, 'data')
      return started
    }
    const zone = (await here.zone()).id
    const sent = Array.from({ length: EVENTS }, () => event(zone))
    await here.send(sent, { producer: 'gateway-a', seq: 1 })
    const size = async () => (await findLogHead(here.database.query, zone))?.size ?? 0
    for (let killed = 0; killed < 3; killed += 1) {
      const running = await start()
      const before = await size()
      await until(20_000, async () => (await size()) > before, 'the log to grow')
      await sleep(5 + killed * 7)
      const gone = once(running, 'exit')
      running.kill('SIGKILL')
      await gone
    }
    expect(await size()).toBeLessThan(EVENTS)
    await start()
    await here.grown(zone, EVENTS, 40_000)
    await until(20_000, async () => (await here.streams.health('caracal.audit.events')).lag === 0, 'an empty stream')
    const entries = await readEntries(here.database.query, zone, 0, EVENTS + 1_000)
    expect(entries.map(({ seq }) => seq)).toEqual(Array.from({ length: EVENTS }, (_, i) => i))
    expect(new Set(entries.map(({ id }) => id))).toEqual(new Set(sent.map(({ id }) => id)))
    for await (const { problems } of verifyTree(here.database.query, zone)) expect(problems).toEqual([])
    expect(await here.streams.quarantine.list('caracal.audit.events', 10)).toEqual([])
    await until(
      10_000,
      async () =>
        (await here.database.query.selectFrom('evidence_producers').select('confirmed_seq').executeTakeFirst())?.confirmed_seq === EVENTS,
      'the producer’s mark',
    )
  }, 90_000)
})
