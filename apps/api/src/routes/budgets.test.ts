import { openChargeDesk } from '@caracal/budgets'
import { type ApplicationId, newId, type RequestId, type ZoneId } from '@caracal/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiForTest, apiForTest, eventsOf, outboxDuring, SAMPLE } from '../test-support/api-for-test.ts'

let api: ApiForTest
let zone: ZoneId
let base: string
let agent: ApplicationId
beforeAll(async () => {
  api = await apiForTest('server')
  await api.apply(SAMPLE)
  zone = (await api.call('GET', '/v1/zones')).body.items[0].id
  base = `/v1/zones/${zone}`
  agent = (await api.call('GET', `${base}/applications`)).body.items[0].id
})
afterAll(() => api?.stop())

type Paged<T> = { readonly items: readonly T[]; readonly next_cursor: string | null }
type Sum = { readonly key: string; readonly calls: number; readonly amount: string }

const DAILY = { name: 'daily', holder: 'agent', limit: { amount: '10.50', currency: 'EUR' }, per: 'day' }

/** Charges and settles as the STS does it. */
async function spend(amount: string, actual: string | null = null, operation = 'GET /notes'): Promise<RequestId> {
  const desk = openChargeDesk({ database: api.database.as('sts'), clock: Date.now, expirationMs: 300_000, mostMs: 300_000 })
  const request = newId('request')
  const what = { application: agent, subject: null, session: null, resource: 'https://notes.example/', operation }
  const price = { amount, currency: 'EUR' }
  const [taken] = await desk.submit(zone, [{ act: 'reserve', request, what, holders: [agent], price, required: true }])
  expect(taken).toMatchObject({ result: { ok: true } })
  await desk.submit(zone, [{ act: 'settle', request, actual }])
  return request
}

describe('budgets', () => {
  test('a budget takes its holder by name, stands at nothing spent, is found by name and holder, and is changed by version', async () => {
    const made = await api.call('POST', `${base}/budgets`, DAILY)
    expect(made).toMatchObject({
      status: 201,
      body: {
        holder: agent,
        limit: { amount: '10.5', currency: 'EUR' },
        window: 'calendar',
        per: 'day',
        version: 1,
        standing: { spent: '0', reserved: '0', remaining: '10.5' },
      },
    })
    const path = made.headers.get('location') ?? ''
    for (const query of ['?name=daily', `?holder=${agent}`, `?name=daily&holder=${agent}`])
      expect((await api.call('GET', `${base}/budgets${query}`)).body.items).toMatchObject([{ id: made.body.id }])
    expect((await api.call('GET', `${base}/budgets?holder=${newId('session')}`)).body.items).toEqual([])
    await spend('0.25', '0.125')
    expect((await api.call('GET', path)).body.standing).toMatchObject({ spent: '0.125', reserved: '0', remaining: '10.375' })
    const wider = { ...DAILY, limit: { amount: '20', currency: 'EUR' } }
    expect((await api.call('PUT', path, wider)).status).toBe(428)
    expect((await api.call('PUT', path, wider, { headers: { 'if-match': '"7"' } })).status).toBe(412)
    const changed = await api.call('PUT', path, wider, { headers: { 'if-match': '"1"' } })
    expect(changed).toMatchObject({ status: 200, body: { version: 2, standing: { spent: '0.125', remaining: '19.875' } } })
  })

  test('what a change was is evidence of the same transaction, and replicas learn of it', async () => {
    let id = ''
    const messages = await outboxDuring(api, async () => {
      id = (await api.call('POST', `${base}/budgets`, { name: 'told', holder: 'agent', limit: { calls: 5 } })).body.id
      await api.call('DELETE', `${base}/budgets/${id}`)
    })
    expect(eventsOf(messages)).toMatchObject([
      {
        type: 'admin.changed',
        target: { kind: 'budget', id, name: 'told' },
        details: { action: 'create', limit: '5 calls', holder: agent },
      },
      { type: 'admin.changed', target: { kind: 'budget', id }, details: { action: 'delete' } },
    ])
    const config = messages.filter(({ stream }) => stream === 'caracal.config').map(({ payload }) => JSON.parse(payload))
    expect(config).toMatchObject([
      { zone, entity: 'budget', id },
      { zone, entity: 'budget', id },
    ])
    expect((await api.call('GET', `${base}/budgets/${id}`)).status).toBe(404)
  })

  const wrong: readonly [what: string, body: object, pointer: string][] = [
    ['a holder that is not there', { ...DAILY, holder: 'nobody' }, '/holder'],
    ['a session that is not there', { ...DAILY, holder: newId('session') }, '/holder'],
    ['an amount with an exponent', { ...DAILY, limit: { amount: '1e3', currency: 'EUR' } }, '/limit'],
    ['an amount below zero', { ...DAILY, limit: { amount: '-1', currency: 'EUR' } }, '/limit'],
    ['an amount with seven places', { ...DAILY, limit: { amount: '0.0000001', currency: 'EUR' } }, '/limit'],
    ['an amount that is a number', { ...DAILY, limit: { amount: 1.5, currency: 'EUR' } }, '/limit'],
    ['a currency that is none', { ...DAILY, limit: { amount: '1', currency: 'ZZZ' } }, '/limit/currency'],
    ['half a call', { ...DAILY, limit: { calls: 0.5 } }, '/limit'],
    ['a window without a period', { name: 'w', holder: 'agent', limit: { calls: 1 }, window: 'rolling' }, '/window'],
    ['a period that is none', { ...DAILY, per: 'year' }, '/per'],
  ]
  test.each(wrong)('[P-126] with %s is refused by JSON pointer', async (_, body, pointer) => {
    const answer = await api.call('POST', `${base}/budgets`, { name: 'wrong', ...body })
    expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
    expect(answer.body.errors.map((error: { pointer: string }) => error.pointer).join(' ')).toContain(pointer)
  })

  test.each([
    ['the holder', { holder: newId('subject') }, '/holder'],
    ['the unit', { limit: { calls: 3 } }, '/limit'],
    ['the currency', { limit: { amount: '1', currency: 'USD' } }, '/limit'],
    ['the period', { per: 'week' }, '/per'],
    ['the window', { window: 'rolling' }, '/window'],
  ])('%s of a budget stays: its balance is counted by it', async (_, change, pointer) => {
    const { id, version } = (await api.call('GET', `${base}/budgets?name=daily`)).body.items[0]
    const answer = await api.call('PUT', `${base}/budgets/${id}`, { ...DAILY, ...change }, { headers: { 'if-match': `"${version}"` } })
    expect(answer.status).toBe(422)
    expect(answer.body.errors).toMatchObject([{ pointer }])
  })

  test('roles: an operator writes, a viewer reads, a policy author does not write', async () => {
    const tokenOf = async (role: string) =>
      (await api.call('POST', '/v1/tokens', { name: role.replace('_', '-'), roles: [role] })).body.token as string
    const [viewer, author] = [await tokenOf('viewer'), await tokenOf('policy_author')]
    expect((await api.call('GET', `${base}/budgets`, undefined, { token: viewer })).status).toBe(200)
    expect((await api.call('GET', `${base}/usage`, undefined, { token: viewer })).status).toBe(200)
    for (const token of [viewer, author]) {
      expect((await api.call('POST', `${base}/budgets`, { ...DAILY, name: 'x' }, { token })).status).toBe(403)
    }
  })
})

describe('documents of budgets and prices', () => {
  const BUDGET = 'kind: Budget\nname: from-file\nholder: agent\nlimit: { amount: "5.00", currency: EUR }\nper: hour\nwindow: rolling\n'
  const priced = (price: string) => SAMPLE.replace('scope: "notes:read" }', `scope: "notes:read", price: ${price} }`)

  test('a set with a budget and a price is applied, and applied again changes nothing', async () => {
    const set = `${priced('{ amount: "0.020", currency: EUR, actual: x-cost }')}\n---\n${BUDGET}`
    const first = await api.apply(set)
    expect(first).toMatchObject({ status: 200 })
    expect(first.body.steps).toContainEqual(expect.objectContaining({ action: 'create', kind: 'Budget', name: 'from-file' }))
    expect(first.body.steps).toContainEqual(
      expect.objectContaining({
        kind: 'Resource',
        changes: expect.arrayContaining(['operation added: GET /notes (notes:read, 0.02 EUR or x-cost)']),
      }),
    )
    const again = await api.apply(set)
    expect(again.body.steps.filter(({ action }: { action: string }) => action !== 'unchanged')).toEqual([])
    const [resource] = (await api.call('GET', `${base}/resources?name=notes`)).body.items
    expect(resource.operations[0].price).toEqual({ amount: '0.02', currency: 'EUR', actual: 'x-cost' })
    const wider = await api.apply(BUDGET.replace('5.00', '6'), { mode: 'plan' })
    expect(wider.body.steps).toMatchObject([{ action: 'update', changes: ['limit: amount=5 currency=EUR → amount=6 currency=EUR'] }])
  })

  test.each([
    ['a price that is a number', priced('{ amount: 0.02, currency: EUR }'), 'operations[0].price.amount', /decimal/],
    ['a price of nothing', priced('{ amount: "0", currency: EUR }'), 'operations[0].price.amount', /more than nothing/],
    ['a price in no currency', priced('{ amount: "1", currency: ZZZ }'), 'operations[0].price.currency', /ISO 4217/],
    ['a holder that is not there', BUDGET.replace('agent', 'nobody'), 'holder', /no application nobody/],
    ['a limit of neither', BUDGET.replace(/limit: .*/, 'limit: { amount: "1" }'), 'limit', /must|missing/],
    ['another period of a budget that stands', BUDGET.replace('per: hour', 'per: day'), 'per', /stays/],
  ])('[P-126] %s is a problem with its place, and nothing is applied', async (_, text, field, message) => {
    const answer = await api.apply(text)
    expect(answer.status).toBe(422)
    expect(answer.body.errors).toContainEqual(
      expect.objectContaining({ field: expect.stringContaining(field), message: expect.stringMatching(message) }),
    )
  })
})

describe('usage', () => {
  test('[P-127] is listed newest first and summed by group and currency, page by page, each once, whatever comes in between', async () => {
    const { id: budget } = (await api.call('GET', `${base}/budgets?name=daily`)).body.items[0]
    const before = (await api.call('GET', `${base}/usage?limit=500`)).body.items.length
    for (let made = 0; made < 5; made += 1) await spend('0.01', null, `GET /n${made % 3}`)
    const seen: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: Paged<{ request: string }> = (await api.call('GET', `${base}/usage?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`))
        .body
      seen.push(...page.items.map((item) => item.request))
      cursor = page.next_cursor
      if (seen.length === 2) await spend('0.01', null, 'GET /n0')
    }
    expect(seen).toHaveLength(before + 5)
    expect(seen).toEqual([...new Set(seen)].sort().reverse())

    const sums: Sum[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const query: string = `by=operation&budget=${budget}&limit=1${cursor === '' ? '' : `&cursor=${cursor}`}`
      const page: Paged<Sum> = (await api.call('GET', `${base}/usage/sums?${query}`)).body
      sums.push(...page.items)
      cursor = page.next_cursor
    }
    expect(sums).toMatchObject([
      { key: 'https://notes.example/ GET /n0', calls: 3, amount: '0.03', currency: 'EUR' },
      { key: 'https://notes.example/ GET /n1', calls: 2, amount: '0.02' },
      { key: 'https://notes.example/ GET /n2', calls: 1, amount: '0.01' },
      { key: 'https://notes.example/ GET /notes' },
    ])
    for (const [filter, items] of [
      [`application=${agent}`, 1],
      [`application=${newId('application')}`, 0],
      [`from=${Date.now() + 60_000}`, 0],
      [`to=${Date.now() + 60_000}`, 1],
      ['resource=https://notes.example/', 1],
    ] as const) {
      expect((await api.call('GET', `${base}/usage/sums?by=day&${filter}`)).body.items, filter).toHaveLength(items)
    }
    const [page] = [(await api.call('GET', `${base}/usage?limit=1`)).body]
    expect((await api.call('GET', `${base}/usage/sums?by=day&cursor=${page.next_cursor}`)).status).toBe(400)
  })
})
