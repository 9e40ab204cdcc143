import { createHash } from 'node:crypto'
import { canonicalJson, type Event, newId, type RequestId, type ZoneId } from '@caracal/core'
import { appendEntries, lockLogHead, writeLogHead } from '@caracal/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiForTest, apiForTest, eventsOf, outboxDuring, SAMPLE } from '../test-support/api-for-test.ts'
import { ruleInWords } from './explain-request.ts'

let api: ApiForTest
let zone: ZoneId

beforeAll(async () => {
  api = await apiForTest('embedded')
  await api.apply(SAMPLE)
  zone = (await api.call('GET', '/v1/zones')).body.items[0].id
})
afterAll(() => api?.stop())

/** Puts events where Audit puts them. */
async function ledger(events: readonly Event[]): Promise<void> {
  await api.database.transaction(async (tx) => {
    const head = await lockLogHead(tx, zone, new Uint8Array(32), Date.now())
    const entries = events.map((event) => {
      const text = canonicalJson(event)
      return { event, text, leaf: createHash('sha256').update(text).digest() }
    })
    await appendEntries(tx, zone, head.size, entries, Date.now())
    await writeLogHead(tx, head.size, { ...head, size: head.size + events.length }, Date.now())
  })
}

function event(request: RequestId, fields: Partial<Event>): Event {
  return {
    v: 1,
    id: newId('event'),
    zone,
    time: '2026-01-02T03:04:05.000000Z',
    type: 'call.refused',
    service: 'gateway',
    request_id: request,
    ...fields,
  }
}

const explain = (request: string) => api.call('GET', `/v1/zones/${zone}/events/explain/${request}`)

describe('explain', () => {
  test('names what was asked, what decided in the words of that version, and what would have to change', async () => {
    const request = newId('request')
    const { set_version } = await api.database.query.selectFrom('policy_heads').select('set_version').executeTakeFirstOrThrow()
    const application = (await api.call('GET', `/v1/zones/${zone}/applications`)).body.items[0].id
    const call = {
      actor: { application },
      resource: 'https://notes.example/',
      operation: { method: 'GET', path: '/notes' },
      scopes: ['notes:read'],
      decision: 'allow' as const,
      policy: { set_version, rules: ['notes/read'] },
    }
    await ledger([event(request, { type: 'call.allowed', ...call }), event(request, { type: 'call.finished', outcome: { status: 200 } })])
    // The policy moves on; the explanation keeps the words that decided.
    await api.apply(SAMPLE.replace('for: { labels: [agents] }', 'for: { applications: [agent] }'))
    const { body, status } = await explain(request)
    expect(status).toBe(200)
    expect(body.summary).toBe(`${application}: GET /notes at https://notes.example/: allowed`)
    expect(body.events.map(({ type }: { type: string }) => type)).toEqual(['call.allowed', 'call.finished'])
    expect(body.rules).toEqual([
      { rule: 'read', policy: 'notes', effect: 'allow', text: 'allow notes:read on https://notes.example/ for labels agents' },
    ])
    expect(body.remedy).toBeNull()
  })

  test('a refusal has a remedy', async () => {
    const request = newId('request')
    const refused = {
      resource: 'https://notes.example/',
      operation: { method: 'DELETE', path: '/notes/1' },
      scopes: ['notes:delete'],
      decision: 'deny' as const,
      reason: 'no_rule_allows' as const,
    }
    await ledger([event(request, refused)])
    const { body } = await explain(request)
    expect(body.summary).toContain('DELETE /notes/1 at https://notes.example/: refused (no_rule_allows: No rule allows it)')
    expect(body.remedy).toContain('Add an allow rule for notes:delete on https://notes.example/')
    expect(body.rules).toEqual([])
  })

  test('[P-107] reading evidence is evidence; a request of nobody is not found', async () => {
    const request = newId('request')
    await ledger([event(request, { type: 'mandate.refused', reason: 'invalid_client' })])
    const written = await outboxDuring(api, async () => {
      expect((await explain(request)).status).toBe(200)
    })
    expect(eventsOf(written)).toEqual([
      expect.objectContaining({ type: 'evidence.read', actor: { admin: 'bootstrap' }, target: { kind: 'request', id: request } }),
    ])
    expect(await explain(newId('request'))).toMatchObject({ status: 404, body: { code: 'not_found' } })
    expect((await explain('req_x')).status).toBe(404)
  })

  test('a rule reads as a sentence', () => {
    expect(
      ruleInWords({
        id: 'r',
        effect: 'hold',
        scopes: ['pay'],
        on: ['https://bank.example/'],
        for: { labels: ['finance'], sessions: ['task'] },
        when: 'operation.body.amount > 500.0',
        limits: { maxTtl: 120 },
        approval: { tier: 'payments', approvers: ['role:approver'], ttl: 900, distinctFromRequester: true },
      }),
    ).toBe(
      'hold pay on https://bank.example/ for labels finance and sessions task, when operation.body.amount > 500.0, for at most 2m, approved by role:approver',
    )
  })
})
