import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseNote } from '@caracal/ledger'
import { readEntries } from '@caracal/postgres'
import { afterAll, expect, test } from 'vitest'
import { event, openWorld, until } from '../test-support/world.ts'
import { fileAnchor } from './anchor.ts'

const folder = mkdtempSync(join(tmpdir(), 'caracal-anchor-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Each time another one. */
const file = () => join(mkdtempSync(join(folder, 'one-')), 'anchors.jsonl')

test('the last note of each log is remembered over a restart, a torn line at the end is not in the way', async () => {
  const path = file()
  const url = pathToFileURL(path).href
  const anchor = fileAnchor(url)
  await Promise.all([anchor.append('a', 'note 1\n'), anchor.append('b', 'note “2”\n'), anchor.append('a', 'note 3\n')])
  appendFileSync(path, '{"origin":"a","no')
  expect([...fileAnchor(url).last()]).toEqual([
    ['a', 'note 3\n'],
    ['b', 'note “2”\n'],
  ])
  expect(statSync(path).mode & 0o077).toBe(0)
})

test('[P-103] every checkpoint that is published stands in the anchor, in order, and the last one is signed when the service stops', async () => {
  const path = file()
  const world = await openWorld('server', { environment: { AUDIT_ANCHORS: pathToFileURL(path).href } })
  const zone = (await world.zone()).id
  await world.send([event(zone)])
  await world.grown(zone, 1)
  await until(15_000, () => readFileSync(path, 'utf8').includes('zones/'), 'the first anchor')
  await world.send(Array.from({ length: 50 }, () => event(zone)))
  await world.grown(zone, 51)
  // Not yet a second later: what is in the log is signed before the process goes.
  const report = await world.audit().stop()
  expect(report.failedHooks).toEqual([])
  const notes = readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => parseNote((JSON.parse(line) as { note: string }).note)?.text.split('\n')[1])
  expect(notes.at(-1)).toBe('51')
  expect(notes.map(Number).toSorted((a, b) => a - b)).toEqual(notes.map(Number))
  const stored = await world.database.query.selectFrom('log_checkpoints').select('size').where('zone', '=', zone).orderBy('size').execute()
  expect(notes.map(Number)).toEqual(stored.map(({ size }) => size))
  await world.close()
})

test('[P-113] stopping finishes the batch in hand: what was taken is in the log or still on the stream, nothing in between', async () => {
  const world = await openWorld('redis')
  const zone = (await world.zone()).id
  await world.send(Array.from({ length: 5_000 }, () => event(zone)))
  await world.grown(zone, 1)
  await world.audit().stop()
  const rows = await readEntries(world.database.query, zone, 0, 10_000)
  const { lag, quarantined } = await world.streams.health('caracal.audit.events')
  expect([rows.length + lag, quarantined]).toEqual([5_000, 0])
  await world.close()
})
