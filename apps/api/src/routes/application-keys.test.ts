import { createHash } from 'node:crypto'
import { loadZoneConfiguration } from '@caracal/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiForTest, apiForTest, eventsOf, outboxDuring, SAMPLE } from '../test-support/api-for-test.ts'

let api: ApiForTest
let application: string
let keys: string
beforeAll(async () => {
  api = await apiForTest('server')
  await api.apply(SAMPLE)
  const base = `/v1/zones/${(await api.call('GET', '/v1/zones')).body.items[0].id}`
  application = (await api.call('GET', `${base}/applications`)).body.items[0].id
  keys = `${base}/applications/${application}/keys`
})
afterAll(() => api?.stop())

const THUMBPRINT = `sha256:${'ab'.repeat(32)}`
const configured = async () => (await loadZoneConfiguration(api.database.query)).flatMap(({ applicationKeys }) => applicationKeys)

describe('an API key', () => {
  test('is shown once, kept as a digest, and stands in what replicas load until it is revoked', async () => {
    const made = await api.call('POST', keys, { kind: 'api_key', name: 'ci', expiresAt: Date.now() + 60_000 })
    expect(made).toMatchObject({ status: 201, body: { kind: 'api_key', name: 'ci', application } })
    const text: string = made.body.api_key
    expect(text).toMatch(/^ck_[0-9a-hjkmnp-tv-z]{26}_[\w-]{43}$/)
    expect(text.slice(3, 29)).toBe(made.body.id.slice(4))
    const listed = await api.call('GET', keys)
    expect(listed.body.items).toEqual([expect.objectContaining({ id: made.body.id, name: 'ci', revokedAt: null })])
    expect(listed.text).not.toContain(text.slice(30))
    expect(await configured()).toEqual([
      expect.objectContaining({ id: made.body.id, digest: createHash('sha256').update(text).digest('hex') }),
    ])

    const said = await outboxDuring(api, async () => {
      expect((await api.call('DELETE', `${keys}/${made.body.id}`)).status).toBe(204)
    })
    expect(said.filter(({ stream }) => stream === 'caracal.revocations').map(({ payload }) => JSON.parse(payload))).toEqual([
      expect.objectContaining({ op: 'revoke', kind: 'credential', id: made.body.id }),
    ])
    expect(said.some(({ stream }) => stream === 'caracal.config')).toBe(true)
    expect(eventsOf(said)).toMatchObject([{ type: 'revocation.published', target: { kind: 'credential', id: made.body.id } }])
    expect(await configured()).toEqual([])
    expect((await api.call('GET', keys)).body.items).toEqual([expect.objectContaining({ revokedAt: expect.any(Number) })])
  })

  test('is not kept for a repetition of the request that made it', async () => {
    const headers = { 'idempotency-key': 'one' }
    const first = await api.call('POST', keys, { kind: 'api_key', name: 'again' }, { headers })
    const second = await api.call('POST', keys, { kind: 'api_key', name: 'again' }, { headers })
    expect(first.body.api_key).toMatch(/^ck_/)
    expect(second).toMatchObject({ status: 201, body: { id: first.body.id, api_key: null } })
    await api.call('DELETE', `${keys}/${first.body.id}`)
  })

  test('ends with its application', async () => {
    const base = keys.replace(/\/applications.*/, '')
    const other = (await api.call('POST', `${base}/applications`, { name: 'brief' })).body.id
    const made = await api.call('POST', `${base}/applications/${other}/keys`, { kind: 'api_key', name: 'k' })
    expect((await configured()).map(({ id }) => id)).toContain(made.body.id)
    await api.call('DELETE', `${base}/applications/${other}`)
    expect((await configured()).map(({ id }) => id)).not.toContain(made.body.id)
  })
})

describe('a certificate', () => {
  const names = [
    THUMBPRINT,
    'subject:CN=agent,O=Example\\, Inc.',
    'dns:agent.example',
    'uri:spiffe://example/ns/a/sa/agent',
    'email:agent@example.org',
  ]
  test.each(names)('may be bound as %s, to one application of the zone', async (certificate) => {
    const made = await api.call('POST', keys, { kind: 'certificate', name: 'cert', certificate })
    expect(made).toMatchObject({ status: 201, body: { kind: 'certificate', certificate, api_key: null } })
    const taken = await api.call('POST', keys, { kind: 'certificate', name: 'other', certificate })
    expect(taken).toMatchObject({ status: 409, body: { code: 'conflict' } })
    expect((await api.call('DELETE', `${keys}/${made.body.id}`)).status).toBe(204)
  })
})

describe('refusals', () => {
  const wrong: readonly [what: string, body: object, status: number][] = [
    ['a thumbprint in capitals', { kind: 'certificate', certificate: THUMBPRINT.toUpperCase() }, 422],
    ['a short thumbprint', { kind: 'certificate', certificate: 'sha256:abcd' }, 422],
    ['a wildcard', { kind: 'certificate', certificate: 'dns:*.example' }, 422],
    ['a subject without an attribute', { kind: 'certificate', certificate: 'subject:agent' }, 422],
    ['a line break in a subject', { kind: 'certificate', certificate: 'subject:CN=a\nO=b' }, 422],
    ['another kind of name', { kind: 'certificate', certificate: 'ip:10.0.0.1' }, 422],
    ['a certificate for an API key', { kind: 'api_key', certificate: THUMBPRINT }, 422],
    ['a past expiry', { kind: 'api_key', expiresAt: 1 }, 422],
    ['no kind', {}, 422],
  ]
  test.each(wrong)('%s', async (_, body, status) => {
    const before = await configured()
    expect((await api.call('POST', keys, { name: 'wrong', ...body })).status).toBe(status)
    expect(await configured()).toEqual(before)
  })

  test('a taken name, an application that is not there, a key of another, a viewer', async () => {
    const made = await api.call('POST', keys, { kind: 'api_key', name: 'mine' })
    expect((await api.call('POST', keys, { kind: 'api_key', name: 'mine' })).status).toBe(409)
    const elsewhere = keys.replace(application, `app_${'0'.repeat(26)}`)
    expect((await api.call('GET', elsewhere)).status).toBe(404)
    expect((await api.call('POST', elsewhere, { kind: 'api_key', name: 'x' })).status).toBe(404)
    expect((await api.call('DELETE', `${elsewhere}/${made.body.id}`)).status).toBe(404)
    const viewer = await api.call('POST', '/v1/tokens', { name: 'viewer', roles: ['viewer'], expiresAt: Date.now() + 60_000 })
    const token = viewer.body.token
    expect((await api.call('GET', keys, undefined, { token })).status).toBe(200)
    expect((await api.call('POST', keys, { kind: 'api_key', name: 'y' }, { token })).status).toBe(403)
    expect((await api.call('DELETE', `${keys}/${made.body.id}`, undefined, { token })).status).toBe(403)
    expect((await configured()).map(({ id }) => id)).toContain(made.body.id)
  })
})
