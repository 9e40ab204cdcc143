import { ROLES, type Role } from '@caracal/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiForTest, apiForTest, SAMPLE } from './test-support/api-for-test.ts'

let api: ApiForTest
let zone: string
const tokens = new Map<Role, string>()
const ids = new Map<string, string>()

beforeAll(async () => {
  api = await apiForTest('embedded')
  await api.apply(SAMPLE)
  zone = (await api.call('GET', '/v1/zones')).body.items[0].id
  for (const role of ROLES)
    tokens.set(role, (await api.call('POST', '/v1/tokens', { name: role.replace('_', '-'), roles: [role] })).body.token)
  for (const noun of ['applications', 'resources', 'providers', 'policies'])
    ids.set(noun, (await api.call('GET', `/v1/zones/${zone}/${noun}`)).body.items[0].id)
})
afterAll(() => api?.stop())

/** What a role may do beyond looking. `DELETE` always as a preview, so that the table can be run. */
const MATRIX: readonly [what: string, method: string, path: (zone: string) => string, body: unknown, allowed: readonly Role[]][] = [
  ['read applications', 'GET', (z) => `/v1/zones/${z}/applications`, undefined, ROLES],
  ['read zones', 'GET', () => '/v1/zones', undefined, ROLES],
  ['ask who it is', 'GET', () => '/v1/whoami', undefined, ROLES],
  [
    'change an application',
    'DELETE',
    (z) => `/v1/zones/${z}/applications/${ids.get('applications')}?dryRun=true`,
    undefined,
    ['operator', 'admin'],
  ],
  ['change a resource', 'DELETE', (z) => `/v1/zones/${z}/resources/${ids.get('resources')}?dryRun=true`, undefined, ['operator', 'admin']],
  ['change a policy', 'DELETE', (z) => `/v1/zones/${z}/policies/${ids.get('policies')}?dryRun=true`, undefined, ['policy_author', 'admin']],
  ['change a zone', 'DELETE', (z) => `/v1/zones/${z}?dryRun=true`, undefined, ['admin']],
  ['make a zone', 'POST', () => '/v1/zones', { name: 'lab' }, ['admin']],
  [
    'revoke',
    'POST',
    (z) => `/v1/zones/${z}/revocations?dryRun=true`,
    { kind: 'mandate', id: 'mnd_01kq0000000000000000000000', reason: 'x' },
    ['operator', 'admin'],
  ],
  ['list tokens', 'GET', () => '/v1/tokens', undefined, ['auditor', 'admin']],
  ['make a token', 'POST', () => '/v1/tokens', { name: 'viewer', roles: ['viewer'] }, ['admin']],
  [
    'read evidence',
    'GET',
    (z) => `/v1/zones/${z}/events/explain/req_01kq0000000000000000000000`,
    undefined,
    ['operator', 'auditor', 'admin'],
  ],
]

describe('roles', () => {
  test.each(MATRIX)('[P-122] to %s takes its role and no other', async (_, method, path, body, allowed) => {
    for (const role of ROLES) {
      const { status } = await api.call(method, path(zone), body, { token: tokens.get(role) ?? '' })
      expect.soft([role, status === 403], `${role}: ${status}`).toEqual([role, !allowed.includes(role)])
    }
  })

  test('[P-122] documents take the role of their kind', async () => {
    const documents: readonly [string, readonly Role[]][] = [
      ['kind: Zone\nname: lab\nlabels: [test]\n', ['admin']],
      ['kind: Application\nzone: lab\nname: other\n', ['operator', 'admin']],
      ['kind: Policy\nzone: lab\nname: p\nrules:\n  - { id: r, deny: ["*"], on: ["*"], for: { any: true } }\n', ['policy_author', 'admin']],
    ]
    for (const [text, allowed] of documents) {
      for (const role of ROLES) {
        const { status } = await api.apply(text, { mode: 'plan', token: tokens.get(role) ?? '' })
        expect.soft([text.slice(0, 20), role, status]).toEqual([text.slice(0, 20), role, allowed.includes(role) ? 200 : 403])
      }
    }
  })

  test('[P-122] a token mints nothing that it does not hold, and no role stands for approver', async () => {
    const admin = tokens.get('admin') ?? ''
    const mint = (body: object, token: string) => api.call('POST', '/v1/tokens', body, { token })
    expect(await mint({ name: 'x', roles: ['approver'] }, admin)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    expect((await mint({ name: 'y', roles: ['viewer', 'operator', 'admin'] }, admin)).status).toBe(201)
    const made = await api.call('POST', '/v1/tokens', { name: 'of-zone', roles: ['admin'], zone })
    const ofZone = made.body.token
    expect((await mint({ name: 'g', roles: ['viewer'], zone: null }, ofZone)).status).toBe(403)
    expect((await mint({ name: 'o', roles: ['viewer'], zone: 'zon_01kq0000000000000000000000' }, ofZone)).status).toBe(404)
    expect((await mint({ name: 'm', roles: ['viewer'] }, ofZone)).body).toMatchObject({ zone })
  })

  test('[P-122] tokens expire: after 90 days unless told, after 365 at most, and never in the past', async () => {
    const day = 86_400_000
    const mint = (name: string, expiresAt?: number) =>
      api.call('POST', '/v1/tokens', { name, roles: ['viewer'], ...(expiresAt ? { expiresAt } : {}) })
    const normal = await mint('normal')
    expect(normal.body.expiresAt - Date.now()).toBeGreaterThan(89.9 * day)
    expect(normal.body.expiresAt - Date.now()).toBeLessThanOrEqual(90 * day)
    expect((await mint('year', Date.now() + 364 * day)).status).toBe(201)
    expect((await mint('long', Date.now() + 366 * day)).status).toBe(422)
    expect((await mint('past', Date.now() - 1)).status).toBe(422)
  })

  test('a token is shown once, works at once, and stops when it is revoked', async () => {
    const made = await api.call('POST', '/v1/tokens', { name: 'once', roles: ['viewer'] }, { headers: { 'idempotency-key': 'once-1' } })
    expect(made.body.token).toMatch(/^cat_[A-Za-z0-9_-]{43}$/)
    const again = await api.call('POST', '/v1/tokens', { name: 'once', roles: ['viewer'] }, { headers: { 'idempotency-key': 'once-1' } })
    expect(again).toMatchObject({ status: 201, body: { id: made.body.id, token: null } })
    expect(JSON.stringify(await api.database.query.selectFrom('idempotency_receipts').selectAll().execute())).not.toContain(made.body.token)
    expect((await api.call('DELETE', `/v1/tokens/${made.body.id}`)).status).toBe(204)
    expect((await api.call('GET', '/v1/whoami', undefined, { token: made.body.token })).status).toBe(401)
    const listed = await api.call('GET', '/v1/tokens')
    expect(listed.text).not.toMatch(/cat_|digest|once/)
  })

  test('[P-123] an author that the caller writes is refused, and the actor of evidence is who authenticated', async () => {
    const path = `/v1/zones/${zone}/applications`
    expect((await api.call('POST', path, { name: 'forged', created_by: 'tok_x' })).status).toBe(422)
    const made = await api.call('POST', '/v1/zones', { name: 'witnessed' })
    const version = await api.apply(
      'kind: Policy\nzone: witnessed\nname: p\nrules:\n  - { id: r, deny: ["*"], on: ["*"], for: { any: true } }\n',
    )
    expect(version.status).toBe(200)
    const rows = await api.database.query.selectFrom('policy_versions').select('created_by').where('zone', '=', made.body.id).execute()
    expect(rows).toEqual([{ created_by: 'bootstrap' }])
  })
})
