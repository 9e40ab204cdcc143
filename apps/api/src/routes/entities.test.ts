import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiForTest, apiForTest, SAMPLE } from '../test-support/api-for-test.ts'

let api: ApiForTest
let base: string
beforeAll(async () => {
  api = await apiForTest('server')
  await api.apply(SAMPLE)
  base = `/v1/zones/${(await api.call('GET', '/v1/zones')).body.items[0].id}`
})
afterAll(() => api?.stop())

const RESOURCE = {
  name: 'files',
  identifier: 'https://files.example/',
  upstream: 'http://127.0.0.1:8090',
  provider: 'open',
  scopes: ['files:read'],
  operations: [{ method: 'GET', path: '/files/{path+}', scope: 'files:read' }],
}

describe('a resource', () => {
  test('takes its provider by name, gets its defaults, is replaced as a whole and found by name', async () => {
    const made = await api.call('POST', `${base}/resources`, RESOURCE)
    expect(made).toMatchObject({
      status: 201,
      body: { kind: 'http', mandateLife: 300, once: false, encodedSeparators: 'refuse', version: 1 },
    })
    expect(made.body.provider).toMatch(/^prv_/)
    const path = made.headers.get('location') ?? ''
    const changed = { ...RESOURCE, provider: made.body.provider, once: true }
    const replaced = await api.call('PUT', path, changed, { headers: { 'if-match': '"1"' } })
    expect(replaced).toMatchObject({ status: 200, body: { once: true, version: 2 } })
    expect((await api.call('GET', `${base}/resources?name=files`)).body).toMatchObject({
      items: [{ id: made.body.id, once: true }],
      next_cursor: null,
    })
    expect((await api.call('GET', path)).headers.get('etag')).toBe('"2"')
  })

  const wrong: readonly [what: string, change: object, pointer: string][] = [
    ['a provider that is not there', { provider: 'nobody' }, '/provider'],
    ['an upstream that the provider is not bound to', { upstream: 'http://127.0.0.1:1' }, '/upstream'],
    ['an undeclared scope', { operations: [{ method: 'GET', path: '/a', scope: 'x' }] }, '/operations/0/scope'],
    ['a malformed template', { operations: [{ method: 'GET', path: '/{a}{b}', scope: 'files:read' }] }, '/operations/0/path'],
    ['two scopes without operations', { scopes: ['a', 'b'], operations: [] }, '/scopes'],
  ]
  test.each(wrong)('[P-126] with %s is refused by JSON pointer', async (_, change, pointer) => {
    const answer = await api.call('POST', `${base}/resources`, { ...RESOURCE, name: 'wrong', identifier: 'https://w.example/', ...change })
    expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
    expect(answer.body.errors).toContainEqual(expect.objectContaining({ in: 'body', pointer }))
  })

  test('[P-126] a taken name and a taken identifier are conflicts', async () => {
    expect((await api.call('POST', `${base}/resources`, { ...RESOURCE, identifier: 'https://other.example/' })).status).toBe(409)
    expect((await api.call('POST', `${base}/resources`, { ...RESOURCE, name: 'other' })).status).toBe(409)
  })
})

describe('a provider', () => {
  test('without secret is made and changed member by member; one that a resource uses keeps its host', async () => {
    const made = await api.call('POST', `${base}/providers`, { name: 'plain', kind: 'none', hosts: ['A.example'] })
    expect(made).toMatchObject({ status: 201, body: { kind: 'none', hosts: ['a.example'], expiresAt: null } })
    const headers = { 'if-match': '*' }
    const path = made.headers.get('location') ?? ''
    expect((await api.call('PATCH', path, { hosts: ['b.example'] }, { headers })).body).toMatchObject({
      name: 'plain',
      hosts: ['b.example'],
    })
    const used = (await api.call('GET', `${base}/providers?name=open`)).body.items[0].id
    const moved = await api.call('PATCH', `${base}/providers/${used}`, { hosts: ['b.example'] }, { headers })
    expect(moved.body.errors).toEqual([expect.objectContaining({ pointer: '/hosts' })])
  })

  const wrong: readonly [what: string, body: object, pointer: string][] = [
    ['no secret', { kind: 'bearer' }, '/secret'],
    ['a secret for nothing', { kind: 'none', secret: 'x' }, '/secret'],
    ['no placement', { kind: 'api_key', secret: 'x' }, '/placement'],
    ['a secret that would end a header', { kind: 'bearer', secret: 'a\r\nb: c' }, '/secret'],
    ['a member of another kind', { kind: 'bearer', username: 'u', secret: 'x' }, '/username'],
  ]
  test.each(wrong)('[P-126] with %s is refused by JSON pointer', async (_, body, pointer) => {
    const answer = await api.call('POST', `${base}/providers`, { name: 'wrong', hosts: ['a.example'], ...body })
    expect(answer.status).toBe(422)
    expect(answer.body.errors).toContainEqual(expect.objectContaining({ in: 'body', pointer }))
  })

  test('[P-124] without the STS a provider with a secret is not made', async () => {
    const body = { name: 'sealed', kind: 'bearer', hosts: ['a.example'], secret: 'a-secret' }
    expect(await api.call('POST', `${base}/providers`, body)).toMatchObject({ status: 503, body: { code: 'sts_unavailable' } })
    expect((await api.call('GET', `${base}/providers?name=sealed`)).body.items).toEqual([])
  })
})

describe('a credential', () => {
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }
  test('may be a public key and nothing else; two are valid at once, one more is refused', async () => {
    const application = (await api.call('GET', `${base}/applications`)).body.items[0].id
    const path = `${base}/applications/${application}/credentials`
    const add = (key: object, expiresAt?: number) => api.call('POST', path, { kind: 'jwk', jwk: key, ...(expiresAt ? { expiresAt } : {}) })
    expect((await add({ ...jwk, d: 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A' })).status).toBe(422)
    expect((await add({ kty: 'oct', k: 'AAAA' })).status).toBe(422)
    expect((await add({ kty: 'RSA', n: 'AQAB', e: 'AQAB' })).status).toBe(422)
    expect((await add(jwk, Date.now() - 1)).status).toBe(422)
    expect((await add(jwk)).body).toMatchObject({ client_id: application, client_secret: null })
    const both = await Promise.all([add(jwk), add(jwk)])
    expect(both.map(({ status }) => status).sort()).toEqual([201, 409])
    expect((await api.call('GET', path)).body.items).toHaveLength(2)
  })
})
