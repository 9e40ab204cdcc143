import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newId } from '@caracal/core'
import { createLogger } from '@caracal/service'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SpendJournal, type SpentCall } from './spend-journal.ts'

const logger = createLogger({ name: 'test', level: 'silent' })
const zone = newId('zone')
const budget = newId('budget')

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'caracal-journal-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const spent = (journal: SpendJournal): SpentCall => ({
  act: 'spend',
  zone,
  request: newId('request'),
  point: journal.point,
  what: { application: newId('application'), subject: null, session: null, resource: 'https://a.example', operation: null },
  parts: [{ budget, amount: '10', money: true }],
  amount: '10',
  currency: 'EUR',
  actual: null,
  at: 1,
})

describe('the journal of spending', () => {
  test('what was acknowledged is there for whoever opens it next, under the same name; what is over is not', async () => {
    const journal = await SpendJournal.open(dir, logger)
    const [open, ended, over] = [spent(journal), spent(journal), spent(journal)]
    expect(await journal.hold(zone, budget)).toBe(true)
    expect(await Promise.all([open, ended, over].map((call) => journal.spend(call)))).toEqual([true, true, true])
    journal.ended(ended.request, '0.5')
    journal.over(over.request)
    journal.over(over.request)
    await journal.close()
    expect(await journal.spend(spent(journal))).toBe(false)
    const next = await SpendJournal.open(dir, logger)
    expect(next.point).toBe(journal.point)
    expect([...next.held]).toEqual([[budget, zone]])
    expect([...next.unsettled.values()]).toEqual([open, { ...ended, actual: '0.5' }])
    next.letGo(budget)
    await next.close()
    const last = await SpendJournal.open(dir, logger)
    expect(last.held.size).toBe(0)
    await last.close()
  })

  test('a process that is killed leaves what it had acknowledged: nothing that matters is only in memory', async () => {
    const journal = await SpendJournal.open(dir, logger)
    const call = spent(journal)
    await journal.spend(call)
    // As another process finds it while this one says nothing more.
    const copy = mkdtempSync(join(tmpdir(), 'caracal-journal-'))
    writeFileSync(join(copy, 'journal'), readFileSync(join(dir, 'journal')))
    const next = await SpendJournal.open(copy, logger)
    expect([...next.unsettled.values()]).toEqual([call])
    await Promise.all([journal.close(), next.close()])
    rmSync(copy, { recursive: true })
  })

  test('a torn end was never acknowledged, and is cut; damage before it gives the point another name, and keeps every call that can be read', async () => {
    const journal = await SpendJournal.open(dir, logger)
    const calls = [spent(journal), spent(journal)]
    await journal.hold(zone, budget)
    for (const call of calls) await journal.spend(call)
    await journal.close()
    const path = join(dir, 'journal')
    appendFileSync(path, '0000')
    const torn = await SpendJournal.open(dir, logger)
    expect(torn.point).toBe(journal.point)
    expect(torn.unsettled.size).toBe(2)
    await torn.close()
    const text = readFileSync(path, 'utf8')
    truncateSync(path)
    appendFileSync(path, text.replace(calls[0]?.request ?? '', newId('request')))
    const damaged = await SpendJournal.open(dir, logger)
    expect(damaged.point).not.toBe(journal.point)
    expect(damaged.held.size).toBe(0)
    expect([...damaged.unsettled.values()]).toEqual([calls[1]])
    await damaged.close()
  })

  test('it is written anew once nothing is unsettled, and does not grow with what was', async () => {
    const journal = await SpendJournal.open(dir, logger)
    await journal.hold(zone, budget)
    for (let n = 0; n < 20; n += 1) {
      const calls = Array.from({ length: 100 }, () => spent(journal))
      await Promise.all(calls.map((call) => journal.spend(call)))
      for (const call of calls) journal.over(call.request)
    }
    await journal.hold(zone, budget)
    await journal.close()
    expect(readFileSync(join(dir, 'journal')).length).toBeLessThan(400 * 1024)
    const next = await SpendJournal.open(dir, logger)
    expect([next.point, next.unsettled.size, next.held.size]).toEqual([journal.point, 0, 1])
    await next.close()
  })
})
