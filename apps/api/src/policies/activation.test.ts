import { recordReplicas } from '@caracal/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiForTest, apiForTest, SAMPLE } from '../test-support/api-for-test.ts'

describe.each(['embedded', 'server'] as const)('activation (%s)', (kind) => {
  let api: ApiForTest
  let base: string
  let zone: string
  let set: string
  const policy = (name: string, scope: string) => ({
    source: `kind: Policy\nname: ${name}\nrules:\n  - { id: r, allow: ["${scope}"], on: ["*"], for: { any: true } }\n`,
  })

  beforeAll(async () => {
    api = await apiForTest(kind)
    await api.apply(SAMPLE)
    zone = (await api.call('GET', '/v1/zones')).body.items[0].id
    base = `/v1/zones/${zone}`
    set = (await api.call('GET', `${base}/policy-sets`)).body.items[0].id
  })
  afterAll(() => api?.stop())

  const active = async () => (await api.call('GET', `${base}/policy-sets/${set}/activation`)).body.active.setVersion
  const activate = (version: string, expected: string | null) =>
    api.call('POST', `${base}/policy-sets/${set}/activate`, { version, expected })
  async function setVersion(name: string): Promise<string> {
    const { body } = await api.call('POST', `${base}/policies`, policy(name, `${name}:read`))
    return (await api.call('POST', `${base}/policy-sets/${set}/versions`, { members: [body.id] })).body.id
  }

  test('[P-031] of two activations at once one wins, the other learns that it moved, and going back is one call', async () => {
    const before = await active()
    const [left, right] = [await setVersion('left'), await setVersion('right')]
    const both = await Promise.all([activate(left, before), activate(right, before)])
    expect(both.map(({ status }) => status).sort()).toEqual([200, 412])
    const winner = both[0]?.status === 200 ? left : right
    expect(await active()).toBe(winner)
    expect(await activate(winner === left ? right : left, before)).toMatchObject({ status: 412, body: { code: 'version_moved' } })
    expect((await activate(before, winner)).status).toBe(200)
    expect(await active()).toBe(before)
  })

  test('[P-031] of two applies at once that change the policy both end up in the set, or one is told to repeat', async () => {
    const text = (name: string) => `kind: Policy\nname: ${name}\nrules:\n  - { id: r, deny: ["${name}"], on: ["*"], for: { any: true } }\n`
    const both = await Promise.all([api.apply(text('one')), api.apply(text('two'))])
    for (const { status } of both) expect([200, 412]).toContain(status)
    const applied = both.filter(({ status }) => status === 200).length
    const versions = await api.call('GET', `${base}/policy-sets/${set}/versions?limit=1`)
    expect(versions.body.items[0].members).toHaveLength(1 + applied)
  })

  test('[P-031] a version never changes: its row cannot be updated, and other content is another version', async () => {
    const { body } = await api.call('POST', `${base}/policies`, policy('fixed', 'a'))
    await expect(
      api.database.query.updateTable('policy_versions').set({ source: 'x' }).where('id', '=', body.id).execute(),
    ).rejects.toThrow(/append-only/)
    const add = (scope: string) => api.call('POST', `${base}/policies/${body.policy}/versions`, policy('fixed', scope))
    expect((await add('b')).body.number).toBe(2)
    expect((await add('a')).body.id).toBe(body.id)
    expect((await api.call('POST', `${base}/policies/${body.policy}/versions`, policy('renamed', 'a'))).status).toBe(422)
  })

  test('what cannot be read is refused with line and field, and what does not belong is not pinned', async () => {
    const bad = await api.call('POST', `${base}/policies`, { source: 'kind: Policy\nname: p\nrulez: []\n' })
    expect(bad.body.errors).toContainEqual(expect.objectContaining({ line: 3, field: expect.stringContaining('rulez') }))
    const unknown = await api.call('POST', `${base}/policy-sets/${set}/versions`, { members: ['plv_01kq0000000000000000000000'] })
    expect(unknown).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
  })

  test('an activation is loaded when every replica that is there serves it', async () => {
    const now = Date.now()
    const current = await active()
    const replica = (name: string, setVersion: string | null, seenAt = now) => ({
      zone: zone as `zon_${string}`,
      replica: name,
      role: 'gateway',
      setVersion: setVersion as `psv_${string}` | null,
      configVersion: 1,
      error: null,
      seenAt,
    })
    const loaded = async () => (await api.call('GET', `${base}/policy-sets/${set}/activation`)).body
    expect(await loaded()).toMatchObject({ replicas: [], loaded: false })
    await recordReplicas(api.database.query, [replica('gw-1', current), replica('gw-2', null), replica('gw-gone', null, now - 60_000)])
    expect(await loaded()).toMatchObject({ loaded: false, replicas: [{ replica: 'gw-1', setVersion: current }, { replica: 'gw-2' }] })
    await recordReplicas(api.database.query, [replica('gw-2', current)])
    expect(await loaded()).toMatchObject({ loaded: true })
  })

  test('[P-060] deleting an active policy activates the set without it; the preview changes nothing', async () => {
    const { body } = await api.call('GET', `${base}/policies?name=notes`)
    const path = `${base}/policies/${body.items[0].id}`
    const before = await active()
    expect((await api.call('DELETE', `${path}?dryRun=true`)).body).toMatchObject({ dryRun: true, deleted: false, affects: { rules: 1 } })
    expect(await active()).toBe(before)
    expect((await api.call('DELETE', path)).body).toMatchObject({ deleted: true, affects: { rules: 1 } })
    expect(await active()).not.toBe(before)
    const members = (await api.call('GET', `${base}/policy-sets/${set}/versions?limit=1`)).body.items[0].members
    expect(members.map((member: { policy: string }) => member.policy)).not.toContain(body.items[0].id)
    expect((await api.call('GET', path)).status).toBe(404)
  })
})
