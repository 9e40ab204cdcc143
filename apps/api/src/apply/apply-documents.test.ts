import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiForTest, apiForTest, SAMPLE } from '../test-support/api-for-test.ts'

/** The same documents with those last that the others need. */
const BACKWARDS = SAMPLE.split('---\n').reverse().join('---\n')

describe.each(['embedded', 'server'] as const)('apply (%s)', (kind) => {
  let api: ApiForTest
  beforeAll(async () => {
    api = await apiForTest(kind)
  })
  afterAll(() => api?.stop())

  test('a plan says what would be and writes nothing', async () => {
    const planned = await api.apply(SAMPLE, { mode: 'plan' })
    expect(planned.body).toMatchObject({ applied: false })
    expect(planned.body.steps.map((step: { action: string; kind: string }) => `${step.action} ${step.kind}`)).toEqual([
      'create Zone',
      'create Application',
      'create Provider',
      'create Resource',
      'create Policy',
      'activate PolicySet',
    ])
    expect((await api.call('GET', '/v1/zones')).body.items).toEqual([])
  })

  test('the order of documents does not matter', async () => {
    const answer = await api.apply(BACKWARDS.replace('name: lab', 'name: backwards'))
    expect(answer).toMatchObject({ status: 200, body: { applied: true } })
    const zone = (await api.call('GET', '/v1/zones?name=backwards')).body.items[0].id
    expect((await api.call('DELETE', `/v1/zones/${zone}`)).status).toBe(200)
  })

  test('[P-129] applied once everything stands, applied twice nothing changes', async () => {
    const first = await api.apply(SAMPLE)
    expect(first.body).toMatchObject({ applied: true })
    const before = await api.database.query.selectFrom('outbox').select('id').execute()
    const second = await api.apply(SAMPLE)
    expect(second.status).toBe(200)
    expect(second.body.steps.map((step: { action: string }) => step.action)).toEqual(Array(5).fill('unchanged'))
    const versions = await api.database.query.selectFrom('policy_set_versions').select('id').execute()
    expect(versions).toHaveLength(2)
    expect((await api.database.query.selectFrom('outbox').select('id').execute()).length).toBeLessThanOrEqual(before.length)
  })
})
