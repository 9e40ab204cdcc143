import { type Event, newId, type ZoneId } from '@caracal/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { event, openWorld, type World } from '../test-support/world.ts'

const START = Date.UTC(2026, 0, 2, 3, 4, 5)
const application = newId('application')
const session = newId('session')
const jti = newId('mandate')
const request_id = newId('request')

/** Twelve events, a minute apart. */
function timeline(zone: ZoneId): Event[] {
  const at = (minute: number) => new Date(START + minute * 60_000).toISOString().replace('Z', '250Z')
  return Array.from({ length: 12 }, (_, i) =>
    event(zone, {
      time: at(i),
      type: i % 3 === 0 ? 'call.refused' : 'call.allowed',
      decision: i % 3 === 0 ? 'deny' : 'allow',
      ...(i % 3 === 0 ? { reason: i === 0 ? 'denied_by_rule' : 'no_rule_allows' } : {}),
      ...(i % 2 === 0 ? { actor: { application, sessions: [newId('session'), session], subject: 'sub_x' } } : {}),
      resource: i < 6 ? 'https://a.example/"{,}\\' : 'https://b.example',
      ...(i === 4 ? { request_id, mandate: { jti, txn: newId('transaction'), expiry: 1 } } : {}),
    }),
  )
}

describe.each(['embedded', 'server'] as const)('search (%s)', (kind) => {
  let world: World
  let zone: ZoneId
  let sent: Event[]
  beforeAll(async () => {
    world = await openWorld(kind)
    zone = (await world.zone()).id
    sent = timeline(zone)
    await world.send(sent)
    await world.grown(zone, sent.length)
  })
  afterAll(() => world?.close())

  type Found = { items: { id: string; index: number; event: string; type: string; time: string }[]; next_cursor: string | null }
  const search = async (query: Record<string, string>): Promise<Found> => {
    const answer = await world.get(`/v1/zones/${zone}/events?${new URLSearchParams(query)}`)
    expect(answer.status).toBe(200)
    return (await answer.json()) as Found
  }
  const minute = (n: number) => new Date(START + n * 60_000).toISOString()

  const FILTERS: [Record<string, string>, (event: Event, i: number) => boolean][] = [
    [{ to: minute(60) }, () => true],
    [{ type: 'call.refused' }, ({ type }) => type === 'call.refused'],
    [{ application }, (_, i) => i % 2 === 0],
    [{ session }, (_, i) => i % 2 === 0],
    [{ subject: 'sub_x' }, (_, i) => i % 2 === 0],
    [{ resource: 'https://a.example/"{,}\\' }, (_, i) => i < 6],
    [{ decision: 'deny' }, (_, i) => i % 3 === 0],
    [{ reason: 'denied_by_rule' }, (_, i) => i === 0],
    [{ request_id }, (_, i) => i === 4],
    [{ jti }, (_, i) => i === 4],
    [{ from: minute(3), to: minute(7) }, (_, i) => i >= 3 && i < 7],
    [{ from: '2026-01-02T03:08:05.000250Z' }, (_, i) => i >= 4],
    [{ from: '2026-01-02T03:08:05.000251Z', to: '2026-01-02T05:00:00+01:00' }, (_, i) => i >= 5],
    [{ type: 'call.allowed', application, resource: 'https://b.example', from: minute(9) }, (_, i) => i === 10],
    [{ application: newId('application'), to: minute(60) }, () => false],
  ]
  test.each(FILTERS)(
    '[P-110] %j finds exactly what matches, in both orders, page by page to a cursor that is null',
    async (query, matches) => {
      const expected = sent.filter(matches).map(({ id }) => id)
      for (const order of ['asc', 'desc'] as const) {
        const wanted = order === 'asc' ? expected : expected.toReversed()
        const bounded = 'to' in query ? query : { to: minute(60), ...query }
        expect((await search({ ...bounded, order })).items.map(({ id }) => id)).toEqual(wanted)
        const paged: string[] = []
        let cursor: string | null = null
        let pages = 0
        do {
          const page: Found = await search({ ...bounded, order, limit: '2', ...(cursor === null ? {} : { cursor }) })
          paged.push(...page.items.map(({ id }) => id))
          cursor = page.next_cursor
          pages += 1
        } while (cursor !== null && pages < 20)
        expect(paged).toEqual(wanted)
        expect(pages).toBe(Math.max(1, Math.ceil(wanted.length / 2)))
      }
    },
  )

  test('newest first is the default, and an item carries the exact text with its index', async () => {
    const { items } = await search({ to: minute(60), limit: '1' })
    expect(items[0]).toMatchObject({ index: 11, id: sent[11]?.id, type: 'call.allowed', time: sent[11]?.time })
    expect(JSON.parse(items[0]?.event ?? '')).toEqual(sent[11])
  })

  test.each([
    ['an unknown type', 'type=call.made_up'],
    ['an unknown decision', 'decision=maybe'],
    ['an unknown reason', 'reason=because'],
    ['an unknown order', 'order=random'],
    ['an unknown filter', 'colour=red'],
    ['a date without time', 'from=2026-01-02'],
    ['a day that is not there', 'from=2026-02-31T25:00:00Z'],
    ['a number for a time', 'to=1767323045000'],
    ['a limit of nothing', 'limit=0'],
    ['a limit of too much', 'limit=501'],
    ['a cursor of nobody', 'cursor=abc.def'],
    ['a filter twice', 'type=call.allowed&type=call.refused'],
  ])('[P-110] %s is a bad request', async (_, query) => {
    const answer = await world.get(`/v1/zones/${zone}/events?${query}`)
    expect([answer.status, answer.headers.get('content-type')]).toEqual([400, 'application/problem+json'])
  })

  test('a cursor counts for the search it was made in only', async () => {
    const { next_cursor: cursor } = await search({ type: 'call.allowed', limit: '1' })
    expect((await world.get(`/v1/zones/${zone}/events?type=call.refused&limit=1&cursor=${cursor}`)).status).toBe(400)
    expect((await world.get(`/v1/zones/${zone}/events?type=call.allowed&order=asc&cursor=${cursor}`)).status).toBe(400)
    expect((await world.get(`/v1/zones/${zone}/events?type=call.allowed&cursor=${cursor}`)).status).toBe(200)
  })
})
