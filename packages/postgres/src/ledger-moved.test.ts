import { createHash } from 'node:crypto'
import { type Event, newId, type ZoneId } from '@caracal/core'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { openEmpty } from './both-databases.ts'
import { knownTexts } from './ledger-log.ts'
import { misfiledBlocks } from './ledger-misfiled.ts'
import { type EventFilter, findEntry, readEntries, searchEntries } from './ledger-search.ts'
import { migrateUp } from './migrate-up.ts'
import { migrateUpTo } from './migrate-up-to.ts'
import { NOW, sampleZone } from './sample-zone.ts'

function eventsOf(zone: ZoneId): Event[] {
  const application = newId('application')
  return Array.from({ length: 300 }, (_, i): Event => {
    const at = NOW + i * 40 - (i % 100 === 50 ? 86_400_000 : 0)
    return {
      v: 1,
      id: newId('event', at),
      zone,
      time: new Date(at).toISOString(),
      type: i % 3 === 0 ? 'call.refused' : 'call.allowed',
      service: 'gateway',
      ...(i % 2 === 0 ? { actor: { application, sessions: [newId('session'), newId('session')], subject: `ü "${i % 5}"` } } : {}),
      ...(i % 3 === 0 ? { decision: 'deny', reason: 'no_rule_allows' } : { decision: 'allow' }),
      resource: `https://r${i % 4}.example/"{,}\\`,
      request_id: i === 10 ? ('req_given by somebody' as `req_${string}`) : newId('request', at - (i % 10) * 1_000),
      ...(i % 5 === 0 ? { mandate: { jti: newId('mandate', at - 3_600_000), txn: newId('transaction'), expiry: 1 } } : {}),
      details: { text: 'line\nbreak 😀 \\x00' },
    }
  })
}

test.each(['embedded', 'server'] as const)(
  '[P-135] entries that stood one in a row are moved into blocks, byte for byte, and found as before (%s)',
  async (kind) => {
    const database = await openEmpty(kind)
    await migrateUpTo(database, 4)
    const db = database.query
    const zones = [(await sampleZone(db)).id, (await sampleZone(db)).id]
    const all = zones.map(eventsOf)
    for (const [n, zone] of zones.entries()) {
      const events = all[n] ?? []
      const texts = events.map((event) => JSON.stringify(event))
      await sql`insert into log_heads values (${zone}, ${events.length}, '', '', now())`.execute(db)
      const column = (read: (event: Event) => unknown) => events.map((event) => read(event) ?? null)
      await sql`
      insert into log_entries (zone, seq, event_id, type, time, application, session, resource, decision, reason, request_id, subject, jti, leaf, event)
      select ${zone}, n - 1, id, type, time, application, session, resource, decision, reason, request, subject, jti, decode(leaf, 'hex'), event
      from unnest(${column((e) => e.id)}::text[], ${column((e) => e.type)}::text[], ${column((e) => e.time)}::timestamptz[],
        ${column((e) => e.actor?.application)}::text[], ${column((e) => e.actor?.sessions?.at(-1))}::text[], ${column((e) => e.resource)}::text[],
        ${column((e) => e.decision)}::text[], ${column((e) => e.reason)}::text[], ${column((e) => e.request_id)}::text[],
        ${column((e) => e.actor?.subject)}::text[], ${column((e) => e.mandate?.jti)}::text[],
        ${texts.map((text) => createHash('sha256').update(text).digest('hex'))}::text[], ${texts}::text[]
      ) with ordinality as entry (id, type, time, application, session, resource, decision, reason, request, subject, jti, leaf, event, n)`.execute(
        db,
      )
    }
    await migrateUp(database)
    for (const [n, zone] of zones.entries()) {
      const events = all[n] ?? []
      const texts = events.map((event) => JSON.stringify(event))
      const entries = await readEntries(db, zone, 0, 10_000)
      expect(entries).toEqual(texts.map((event, seq) => ({ seq, id: events[seq]?.id, event })))
      const filters: [EventFilter, (event: Event) => boolean][] = [
        [{ type: 'call.refused' }, ({ type }) => type === 'call.refused'],
        [{ application: events[0]?.actor?.application }, ({ actor }) => actor !== undefined],
        [{ session: events[4]?.actor?.sessions?.[1] }, ({ id }) => id === events[4]?.id],
        [{ subject: 'ü "2"', decision: 'deny' }, ({ actor, decision }) => actor?.subject === 'ü "2"' && decision === 'deny'],
        [{ resource: 'https://r1.example/"{,}\\' }, ({ resource }) => resource === 'https://r1.example/"{,}\\'],
        [
          { reason: 'no_rule_allows', from: NOW + 4_000, to: NOW + 8_000 },
          ({ reason, time }) => reason !== undefined && Date.parse(time) >= NOW + 4_000 && Date.parse(time) < NOW + 8_000,
        ],
        ...[5, 9, 10, 299].map((i): [EventFilter, (event: Event) => boolean] => [
          { requestId: events[i]?.request_id },
          ({ id }) => id === events[i]?.id,
        ]),
        [{ jti: events[15]?.mandate?.jti }, ({ id }) => id === events[15]?.id],
      ]
      for (const [filter, matches] of filters) {
        const { items } = await searchEntries(db, zone, filter, { limit: 1_000, order: 'asc' })
        expect(
          items.map(({ id }) => id),
          JSON.stringify(filter),
        ).toEqual(events.filter(matches).map(({ id }) => id))
      }
      for (const i of [0, 50, 299]) expect(await findEntry(db, zone, events[i]?.id ?? 'evt_')).toMatchObject({ seq: i, event: texts[i] })
      expect(await misfiledBlocks(db, zone, 0, 10_000)).toEqual([])
      const ids = events.map(({ id }) => id)
      expect(await knownTexts(db, zone, ids)).toEqual(new Map(ids.map((id, i) => [id, texts[i]])))
    }
    await database.close()
  },
  180_000,
)
