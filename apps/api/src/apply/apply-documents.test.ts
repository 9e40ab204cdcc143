import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiForTest, apiForTest, SAMPLE } from '../test-support/api-for-test.ts'

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

  test('[P-129] applied once everything stands, applied twice nothing changes', async () => {
    const first = await api.apply(SAMPLE)
    expect(first.body).toMatchObject({ applied: true })
    const before = await api.database.query.selectFrom('outbox').select('id').execute()
    const second = await api.apply(SAMPLE)
    expect(second.status).toBe(200)
    expect(second.body.steps.map((step: { action: string }) => step.action)).toEqual(Array(5).fill('unchanged'))
    const versions = await api.database.query.selectFrom('policy_set_versions').select('id').execute()
    expect(versions).toHaveLength(1)
    expect((await api.database.query.selectFrom('outbox').select('id').execute()).length).toBeLessThanOrEqual(before.length)
  })
})
