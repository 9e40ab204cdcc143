import { type ConfirmedMessage, canonicalJson, type Event, newId, type ZoneId } from '@caracal/core'
import { findLogHead, readEntries } from '@caracal/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { event, KINDS, openWorld, until, type World } from '../test-support/world.ts'
import { verifyHead } from '../verification/verify-head.ts'
import { verifyTree } from '../verification/verify-tree.ts'

const STREAM = 'caracal.audit.events'

/** Everything wrong with a zone's log, by the service's own checks. */
async function faults(world: World, zone: ZoneId): Promise<string[]> {
  const found: string[] = []
  for await (const { problems } of verifyTree(world.database.query, zone)) found.push(...problems)
  const origin = `sts.example.com/zones/${zone}`
  return [...found, ...(await verifyHead(world.database.query, { zone, origin, verifiers: [], seen: undefined }))].filter(
    (problem) => !problem.startsWith('the last checkpoint does not verify'),
  )
}

async function entriesOf(world: World, zone: ZoneId) {
  return await readEntries(world.database.query, zone, 0, 1_000_000)
}

async function reasons(world: World): Promise<string[]> {
  return (await world.streams.quarantine.list(STREAM, 100)).map(({ reason }) => reason)
}

describe.each(KINDS)('ingest (%s)', (kind) => {
  let world: World
  beforeAll(async () => {
    world = await openWorld(kind)
  })
  afterAll(() => world?.close())

  test('[P-102] two consumers take one zone’s events at once: every event once, numbers without a gap, one tree', async () => {
    const second = await world.startAudit()
    const zone = (await world.zone()).id
    const other = (await world.zone()).id
    const sent = Array.from({ length: 3_000 }, (_, i) => event(i % 10 === 0 ? other : zone))
    await Promise.all(
      Array.from({ length: 10 }, (_, i) => world.send(sent.slice(i * 300, (i + 1) * 300), { producer: 'gateway-a', seq: i * 300 + 1 })),
    )
    await world.grown(zone, 2_700, 30_000)
    await world.grown(other, 300, 30_000)
    const entries = await entriesOf(world, zone)
    expect(entries.map(({ seq }) => seq)).toEqual(Array.from({ length: 2_700 }, (_, i) => i))
    expect(new Set(entries.map(({ id }) => id))).toEqual(new Set(sent.filter((one) => one.zone === zone).map(({ id }) => id)))
    expect(await faults(world, zone)).toEqual([])
    expect(await faults(world, other)).toEqual([])
    await second.stop()
  })

  test('[P-102] the same bytes again are acknowledged and not written again; other bytes under the id are set aside', async () => {
    const zone = (await world.zone()).id
    const first = event(zone)
    await world.send([first, first, event(zone)])
    await world.send([first])
    await world.grown(zone, 2)
    await world.send([{ ...first, request_id: newId('request') }, event(zone)])
    await world.grown(zone, 3)
    await until(5_000, async () => (await reasons(world)).includes('conflicting_event'), 'the conflict to be set aside')
    await until(5_000, async () => (await world.streams.health(STREAM)).lag === 0, 'an empty stream')
    expect(await entriesOf(world, zone)).toHaveLength(3)
    const metrics = await (await fetch(`${world.audit().metricsAddress?.url}/metrics`)).text()
    expect(metrics).toMatch(/caracal_audit_ingested_total\{outcome="conflict"\} 1/)
    expect(metrics).toMatch(/caracal_audit_quarantined_total\{reason="conflicting_event"\} 1/)
    expect(metrics).toMatch(/caracal_ledger_verified 1/)
  })

  test('[P-100] what was changed on its way, is malformed or is of no zone of ours is set aside with its reason; its neighbours are taken', async () => {
    const zone = (await world.zone()).id
    const before = await reasons(world)
    const good = event(zone)
    const spoilt = world.payload(event(zone))
    const bad: [string, string][] = [
      ['not_authentic', spoilt.replace('call.allowed', 'call.refused')],
      ['not_authentic', `somebody-else${spoilt.slice(spoilt.indexOf(' '))}`],
      ['unknown_key', spoilt.replace(/ [0-9a-f]{8} /, ' 00000000 ')],
      ['malformed_message', 'not a message'],
      ['unknown_zone', world.payload(event(newId('zone')))],
      ['malformed_event: not_json', world.payload('{')],
      ['malformed_event: unknown_type', world.payload(canonicalJson({ ...event(zone), type: 'made.up' }))],
      ['malformed_event: unknown_reason', world.payload(canonicalJson({ ...event(zone), reason: 'made_up' }))],
      ['malformed_event: unknown_decision', world.payload(canonicalJson({ ...event(zone), decision: 'perhaps' }))],
      ['malformed_event: bad_time', world.payload(event(zone, { time: 'yesterday' }))],
      ['malformed_event: bad_id', world.payload(canonicalJson({ ...event(zone), id: 'evt_1' }))],
      ['malformed_event: unknown_version', world.payload(canonicalJson({ ...event(zone), v: 2 }))],
    ]
    const messages = bad.map(([, payload]) => ({ partition: zone, payload }))
    await world.streams.append(STREAM, [...messages.slice(0, 5), { partition: zone, payload: world.payload(good) }, ...messages.slice(5)])
    await world.grown(zone, 1)
    await until(5_000, async () => (await reasons(world)).length === before.length + bad.length, 'all of them to be set aside')
    expect((await reasons(world)).slice(before.length).sort()).toEqual(bad.map(([reason]) => reason).sort())
    expect((await entriesOf(world, zone)).map(({ id }) => id)).toEqual([good.id])
  })

  test('[P-113] a message of many events is set aside whole for a bad one, its good ones are in the log, and redriving it adds nothing', async () => {
    const zone = (await world.zone()).id
    const before = await reasons(world)
    const good = [event(zone), event(zone), event(zone)]
    const texts = good.map((one) => canonicalJson(one))
    const bad = canonicalJson({ ...event(zone), type: 'made.up' })
    const group = world.payload([...texts.slice(0, 2), bad], { producer: 'gateway-mixed', seq: 1 })
    const payload = `${group}${world.payload(texts.slice(2), { producer: 'gateway-mixed', seq: 4 })}`
    await world.streams.append(STREAM, [{ partition: '', payload }])
    await world.grown(zone, 3)
    const isSetAside = async () => (await reasons(world)).length === before.length + 1
    await until(5_000, isSetAside, 'the message to be set aside')
    expect((await reasons(world)).at(-1)).toBe('malformed_event: unknown_type')
    const id = (await world.streams.quarantine.list(STREAM, 100)).at(-1)?.id ?? ''
    expect(await world.streams.quarantine.redrive(STREAM, id)).toBe(true)
    await until(5_000, isSetAside, 'the message to be set aside again')
    expect((await entriesOf(world, zone)).map(({ id }) => id)).toEqual(good.map(({ id }) => id))
    expect(await faults(world, zone)).toEqual([])
  })

  test('[P-097] nothing a caller can put into an event keeps it out of the log', async () => {
    const zone = (await world.zone()).id
    const hostile = ['a\u0000b', 'x'.repeat(20_000), '"{,}\\', '\u202e\u0007', `${'é'.repeat(511)}😀`, '']
    const sent = hostile.flatMap((text): Event[] => [
      event(zone, { type: 'call.refused', resource: text, actor: { subject: text, source: text } }),
      event(zone, { client_request_id: text, request_id: text as `req_${string}`, details: { text } }),
    ])
    await world.send(sent)
    await world.grown(zone, sent.length)
    const entries = await entriesOf(world, zone)
    expect(entries.map((entry) => JSON.parse(entry.event))).toEqual(sent)
    const found = (await (await world.get(`/v1/zones/${zone}/events?resource=${'x'.repeat(2_000)}`)).json()) as { items: { id: string }[] }
    expect(found.items.map(({ id }) => id)).toEqual([sent[2]?.id])
  })

  test('[P-099] a producer hears up to where the ledger holds its events, never past a gap, and of what it lost itself', async () => {
    const zone = (await world.zone()).id
    const producer = `gateway-${zone.slice(-8)}`
    const heard: number[] = []
    const subscription = await world.streams.subscribe('caracal.evidence', await world.streams.tip('caracal.evidence'), {
      onMessage: ({ payload }) => {
        const message = JSON.parse(payload) as ConfirmedMessage
        if (message.producer === producer) heard.push(message.seq)
      },
      onGap: () => {},
    })
    const hears = (seq: number) => until(10_000, () => heard.at(-1) === seq, `the mark ${seq}`)
    await world.send([event(zone), event(zone), event(zone)], { producer, seq: 1 })
    await hears(3)
    await world.send([event(zone), event(zone)], { producer, seq: 6 })
    await world.grown(zone, 5)
    expect(heard.at(-1)).toBe(3)
    await world.send([event(zone)], { producer, seq: 4 })
    await hears(4)
    await world.streams.append(STREAM, [{ partition: zone, payload: world.payload('', { producer, seq: 5 }) }])
    await hears(7)
    // What can never be in a log does not hold its producer back: it stands in the quarantine.
    await world.streams.append(STREAM, [{ partition: zone, payload: world.payload('{"v":1}', { producer, seq: 8 }) }])
    await hears(8)
    const marks = heard.length
    await until(7_000, () => heard.length > marks, 'the mark to be said again')
    expect(heard.at(-1)).toBe(8)
    expect([...heard].sort((a, b) => a - b)).toEqual(heard)
    expect((await findLogHead(world.database.query, zone))?.size).toBe(6)
    await subscription.stop()
  })

  test('an event that arrives while nothing else happens is in the log within a moment', async () => {
    const zone = (await world.zone()).id
    await world.send([event(zone)])
    await world.grown(zone, 1)
    const took: number[] = []
    for (let size = 2; size <= 8; size += 1) {
      const began = performance.now()
      await world.send([event(zone)])
      await world.grown(zone, size)
      took.push(performance.now() - began)
    }
    expect(took.sort((a, b) => a - b)[3]).toBeLessThan(1_000)
  })
})
