import { createHash } from 'node:crypto'
import { type Event, newId, type ZoneId } from '@caracal/core'
import { type RawBuilder, sql } from 'kysely'
import { expect, test } from 'vitest'
import { describeOnBoth } from './both-databases.ts'
import { listProducers, recordProduced } from './evidence-producers.ts'
import { blocksFrom, blocksOfTime } from './ledger-candidates.ts'
import { checkpointCovering, findCheckpoint, insertCheckpoint, latestCheckpoint } from './ledger-checkpoints.ts'
import {
  appendEntries,
  findLogHead,
  knownTexts,
  listLogHeads,
  lockLogFor,
  lockLogHead,
  readTile,
  writeLogHead,
  writeTiles,
} from './ledger-log.ts'
import { type EventFilter, findEntry, readEntries, searchEntries } from './ledger-search.ts'
import { NOW, sampleZone } from './sample-zone.ts'

const EMPTY = createHash('sha256').digest()

function entry(zone: ZoneId, fields: Partial<Event> = {}, micros = 0) {
  const time = new Date(NOW).toISOString().replace('Z', `${String(micros).padStart(3, '0')}Z`)
  const event: Event = { v: 1, id: newId('event'), zone, time, type: 'call.allowed', service: 'gateway', ...fields }
  const text = JSON.stringify(event)
  return { event, text }
}

describeOnBoth('ledger', (database) => {
  const db = () => database().query

  async function append(zone: ZoneId, entries: readonly ReturnType<typeof entry>[]) {
    return await database().transaction(async (tx) => {
      const head = await lockLogHead(tx, zone, EMPTY, NOW)
      await appendEntries(tx, zone, head.size, entries, NOW)
      const size = head.size + entries.length
      await writeLogHead(tx, head.size, { zone, size, root: EMPTY, frontier: new Uint8Array(32).fill(size) }, NOW)
      return size
    })
  }

  test('appenders of one zone take turns: numbers have no gap and no double', async () => {
    const zone = (await sampleZone(db())).id
    await Promise.all(
      [3, 1, 2, 5].map((n) =>
        append(
          zone,
          Array.from({ length: n }, () => entry(zone)),
        ),
      ),
    )
    expect(await findLogHead(db(), zone)).toMatchObject({ size: 11, frontier: expect.objectContaining({ 0: 11, length: 32 }) })
    expect((await readEntries(db(), zone, 0, 100)).map(({ seq }) => seq)).toEqual(Array.from({ length: 11 }, (_, i) => i))
    expect((await listLogHeads(db())).map((head) => head.zone)).toContain(zone)
    const stale = { zone, size: 12, root: EMPTY, frontier: EMPTY }
    await expect(writeLogHead(db(), 10, stale, NOW)).rejects.toThrow(/moved under its lock/)
  })

  test('an event comes back byte for byte, found by id, with the columns it is searched by', async () => {
    const zone = (await sampleZone(db())).id
    const full = entry(
      zone,
      {
        type: 'call.refused',
        actor: { application: newId('application'), subject: newId('subject'), sessions: [newId('session'), newId('session')] },
        resource: 'https://ü.example/"{,}\\',
        decision: 'deny',
        reason: 'no_rule_allows',
        mandate: { jti: newId('mandate'), txn: newId('transaction'), expiry: 1 },
        request_id: newId('request'),
        details: { text: 'line\nbreak \u0001 😀 \\x00 {"a":1}', NULL: 'NULL' },
      },
      123,
    )
    const bare = entry(zone)
    await append(zone, [full, bare])
    expect(await findEntry(db(), zone, full.event.id)).toMatchObject({ seq: 0, event: full.text })
    expect(await knownTexts(db(), zone, [full.event.id, newId('event')])).toEqual(new Map([[full.event.id, full.text]]))
    expect((await knownTexts(db(), (await sampleZone(db())).id, [full.event.id])).size).toBe(0)
    const filters: EventFilter[] = [
      { type: 'call.refused' },
      { application: full.event.actor?.application },
      { session: full.event.actor?.sessions?.[1] },
      { subject: full.event.actor?.subject },
      { resource: full.event.resource },
      { decision: 'deny' },
      { reason: 'no_rule_allows' },
      { jti: full.event.mandate?.jti },
      { requestId: full.event.request_id },
      { from: NOW + 0.123, to: NOW + 0.124 },
      { requestId: full.event.request_id, jti: full.event.mandate?.jti, type: 'call.refused' },
      { type: 'call.refused', decision: 'deny', from: NOW, to: NOW + 1 },
    ]
    for (const filter of filters) {
      expect((await searchEntries(db(), zone, filter, { limit: 5 })).items.map(({ event }) => event)).toEqual([full.text])
    }
    expect((await searchEntries(db(), zone, { from: NOW + 0.124 }, { limit: 5 })).items).toEqual([])
    expect((await searchEntries(db(), zone, { session: full.event.actor?.sessions?.[0] }, { limit: 5 })).items).toEqual([])
  })

  test('search pages are exact while the log grows', async () => {
    const zone = (await sampleZone(db())).id
    await append(
      zone,
      Array.from({ length: 7 }, () => entry(zone)),
    )
    const seen: number[] = []
    let after: number | undefined
    do {
      const page = await searchEntries(db(), zone, {}, { limit: 3, after })
      seen.push(...page.items.map(({ seq }) => seq))
      await append(zone, [entry(zone)])
      after = page.next === null ? undefined : Number(page.next)
    } while (after !== undefined)
    expect(seen).toEqual([6, 5, 4, 3, 2, 1, 0])
  })

  test('[P-102] what the log has under an id is known with the head, however old it is and whatever is appended meanwhile', async () => {
    const zone = (await sampleZone(db())).id
    const old = entry(zone, { id: newId('event', NOW - 400 * 86_400_000) })
    const fresh = entry(zone)
    await append(zone, [old, ...Array.from({ length: 3 }, () => entry(zone))])
    await append(zone, [fresh])
    const ids = [fresh.event.id, old.event.id, newId('event'), newId('event', NOW - 400 * 86_400_000)]
    const { head, known } = await database().transaction((tx) => lockLogFor(tx, zone, ids, EMPTY, NOW))
    expect(head.size).toBe(5)
    expect(known).toEqual(new Map([old, fresh].map(({ event, text }) => [event.id, text])))
    const begun = (await sampleZone(db())).id
    expect(await database().transaction((tx) => lockLogFor(tx, begun, ids, EMPTY, NOW))).toMatchObject({
      head: { size: 0 },
      known: new Map(),
    })
  })

  test.each(['log_blocks', 'log_checkpoints'])('[P-104] %s refuses UPDATE, DELETE and TRUNCATE', async (table) => {
    const zone = (await sampleZone(db())).id
    await append(zone, [entry(zone)])
    await insertCheckpoint(db(), { zone, size: 1, root: EMPTY, note: 'n', at: NOW })
    for (const change of [
      sql`update ${sql.table(table)} set zone = zone`,
      sql`delete from ${sql.table(table)}`,
      sql`truncate ${sql.table(table)}`,
    ]) {
      await expect(change.execute(db())).rejects.toThrow(/append-only/)
    }
  })

  test('tiles grow in place, and a torn tail is overwritten from its offset on', async () => {
    const zone = (await sampleZone(db())).id
    await append(zone, [entry(zone)])
    const hashes = (...bytes: number[]) => Buffer.concat(bytes.map((byte) => Buffer.alloc(32, byte)))
    await writeTiles(db(), zone, [
      { level: 0, index: 0, offset: 0, hashes: hashes(1, 2) },
      { level: 1, index: 0, offset: 0, hashes: hashes(9) },
    ])
    await writeTiles(db(), zone, [
      { level: 0, index: 0, offset: 2, hashes: hashes(3) },
      { level: 0, index: 1, offset: 0, hashes: hashes(4) },
    ])
    await writeTiles(db(), zone, [{ level: 0, index: 0, offset: 1, hashes: hashes(7, 8) }])
    expect(Buffer.from((await readTile(db(), zone, 0, 0)) ?? '')).toEqual(hashes(1, 7, 8))
    expect(Buffer.from((await readTile(db(), zone, 0, 1)) ?? '')).toEqual(hashes(4))
    expect(await readTile(db(), zone, 2, 0)).toBeUndefined()
    const full = Array.from({ length: 256 }, (_, i) => i)
    await writeTiles(db(), zone, [{ level: 0, index: 2, offset: 0, hashes: hashes(...full) }])
    expect(await readTile(db(), zone, 0, 2)).toHaveLength(8192)
  })

  test('the first checkpoint of a size stands', async () => {
    const zone = (await sampleZone(db())).id
    await append(zone, [entry(zone)])
    const checkpoint = { zone, size: 3, root: EMPTY, note: 'three\n\n— sig\n', at: NOW }
    expect(await insertCheckpoint(db(), checkpoint)).toBe(true)
    expect(await insertCheckpoint(db(), { ...checkpoint, note: 'other' })).toBe(false)
    await insertCheckpoint(db(), { ...checkpoint, size: 8 })
    expect((await latestCheckpoint(db(), zone))?.size).toBe(8)
    expect((await checkpointCovering(db(), zone, 2))?.size).toBe(3)
    expect((await checkpointCovering(db(), zone, 3))?.size).toBe(8)
    expect(await checkpointCovering(db(), zone, 8)).toBeUndefined()
    expect(await findCheckpoint(db(), zone, 3)).toMatchObject({ note: checkpoint.note, at: NOW })
  })

  test('a producer is confirmed up to the first gap, in whatever order and how often numbers come', async () => {
    const producer = newId('request')
    const put = (...seqs: number[]) => recordProduced(db(), new Map([[producer, seqs]]), NOW).then((marks) => marks.get(producer))
    expect(await put(1, 2)).toBe(2)
    expect(await put(5, 4, 7)).toBe(2)
    expect(await put(2)).toBe(2)
    expect(await put(3)).toBe(5)
    expect(await put(6, 6, 6)).toBe(7)
    expect(await put(9)).toBe(7)
    const { rows } = await sql<{ ahead: string }>`select ahead::text as ahead from evidence_producers where producer = ${producer}`.execute(
      db(),
    )
    expect(rows[0]?.ahead).toBe('{[9,10)}')
    expect(await Promise.all([put(8), put(10), put(11)])).toContain(11)
    expect(await listProducers(db())).toContainEqual({ producer, confirmedSeq: 11, lastSeen: NOW })
    const others = [newId('request'), newId('request')]
    const given = new Map([
      [producer, [13]],
      [others[0] ?? '', [2, 3]],
      [others[1] ?? '', [1]],
    ])
    expect(await recordProduced(db(), given, NOW)).toEqual(
      new Map([
        [producer, 11],
        [others[0], 0],
        [others[1], 1],
      ]),
    )
  })

  test('[P-133] [P-171] what ingest and search ask for is found by an index, whatever the planner knows', async () => {
    const zone = (await sampleZone(db())).id
    for (let n = 0; n < 6; n += 1) {
      await append(
        zone,
        Array.from({ length: 50 }, (_, i) => entry(zone, { id: newId('event', NOW + n * 10_000), resource: `https://r${i % 5}.example` })),
      )
    }
    const planOf = async (statement: { explain(format: 'text'): Promise<unknown[]> }) =>
      (await statement.explain('text')).map((line) => Object.values(line as object).join('')).join('\n')
    await db()
      .transaction()
      .execute(async (tx) => {
        // So few rows would all be read; of many they are not.
        await sql`set local enable_seqscan = off`.execute(tx)
        await sql`set local enable_bitmapscan = off`.execute(tx)
        for (const order of ['asc', 'desc'] as const) {
          for (const times of [{}, { from: NOW, to: NOW + 1 }]) {
            for (const after of [undefined, 150]) {
              const plan = await planOf(blocksOfTime(tx, zone, times, { order, after }))
              expect(plan).toMatch(/Index Scan.* using log_blocks_pkey/)
              expect(plan).not.toMatch(/Seq Scan|Sort/)
            }
          }
        }
        expect(await planOf(blocksFrom(tx, zone, 100, 200))).not.toMatch(/Seq Scan|Sort/)
        await sql`set local enable_bitmapscan = on`.execute(tx)
        const explained = async (statement: RawBuilder<unknown>) =>
          (await sql<object>`explain ${statement}`.execute(tx)).rows.map((line) => Object.values(line).join('')).join('\n')
        const near = sql`select first_seq from log_blocks where zone = ${zone} and bucket = any ('{1,2}') and ids_from <= 5 and ids_to >= 3`
        expect(await explained(near)).toMatch(/log_blocks_ids/)
        expect(await explained(sql`select first_seq from log_blocks where terms @> '{1,2}'::bigint[]`)).toMatch(/log_blocks_terms/)
      })
  })
})
