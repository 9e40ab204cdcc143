import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiForTest, apiForTest, SAMPLE } from '../test-support/api-for-test.ts'

let api: ApiForTest
beforeAll(async () => {
  api = await apiForTest('embedded')
  await api.apply(SAMPLE)
})
afterAll(() => api?.stop())

/** Everything that an apply can write. */
async function everything(): Promise<string> {
  const { query } = api.database
  const tables = [
    'zones',
    'applications',
    'providers',
    'resources',
    'policies',
    'policy_versions',
    'policy_set_versions',
    'policy_heads',
  ] as const
  return JSON.stringify(await Promise.all(tables.map((table) => query.selectFrom(table).selectAll().execute())))
}

const GOOD = 'kind: Application\nname: innocent\n---\n'
const resource = (more: string) =>
  `kind: Resource\nname: r\nidentifier: https://r.example/\nupstream: http://127.0.0.1:8090\nprovider: open\nscopes: [a]\n${more}`
const provider = (more: string) => `kind: Provider\nname: p\nhosts: [a.example]\n${more}`
const policy = (rule: string) => `kind: Policy\nname: bad\nrules:\n  - { id: r, ${rule} }\n`

const BAD: readonly [what: string, text: string, field: string, message: RegExp][] = [
  ['a provider that does not exist', resource('').replace('provider: open', 'provider: nobody'), 'provider', /no provider nobody/],
  ['an upstream outside the hosts of its provider', resource('').replace('8090', '8099'), 'upstream', /127\.0\.0\.1:8099/],
  ['the same host with another port', resource('').replace('127.0.0.1:8090', '127.0.0.1'), 'upstream', /among the hosts/],
  [
    'a scope that is not declared',
    resource('operations: [{ method: GET, path: /a, scope: b }]'),
    'operations[0].scope',
    /b is not among the scopes/,
  ],
  ['no operations and two scopes', resource('').replace('[a]', '[a, b]'), 'scopes', /exactly one scope/],
  ['a malformed template', resource('operations: [{ method: GET, path: "/{a+}/b", scope: a }]'), 'operations[0].path', /last/],
  [
    'an operation twice',
    resource('operations: [{ method: GET, path: /a, scope: a }, { method: GET, path: /a, scope: a }]'),
    'operations[1]',
    /more than once/,
  ],
  ['an identifier that is taken', resource('').replace('https://r.example/', 'https://notes.example/'), 'identifier', /notes/],
  [
    'an identifier that is the issuer of a zone',
    resource('').replace('https://r.example/', 'https://sts.example/zones/zon_01m82a3dpxe6h9jjgdmg9xdezp'),
    'identifier',
    /reserved/,
  ],
  ['a malformed range', resource('egressAllow: [10.0.0.0/64]'), 'egressAllow[0]', /address range/],
  ['an upstream with a password', resource('').replace('http://127', 'http://u:p@127'), 'upstream', /without credentials/],
  ['an API key without placement', provider('method: api_key\nsecret: { fromEnv: A }'), 'placement', /required/],
  [
    'a placement where none belongs',
    provider('method: bearer\nsecret: { fromEnv: A }\nplacement: { in: header, name: X }'),
    'placement',
    /api_key only/,
  ],
  [
    'a credential in the query without saying so',
    provider('method: api_key\nsecret: { fromEnv: A }\nplacement: { in: query, name: k }'),
    'placement.insecure_query_credential',
    /must be true/,
  ],
  [
    'a reserved header',
    provider('method: api_key\nsecret: { fromEnv: A }\nplacement: { in: header, name: Host }'),
    'placement.name',
    /no credential/,
  ],
  ['basic without a user', provider('method: basic\nsecret: { fromEnv: A }'), 'username', /required/],
  [
    'a token endpoint that is missing',
    provider('method: oauth2_client_credentials\nclientId: c\nsecret: { fromEnv: A }'),
    'tokenEndpoint',
    /required/,
  ],
  ['a secret that is missing', provider('method: bearer'), 'secret', /required/],
  ['a secret whose value did not come', provider('method: bearer\nsecret: { fromEnv: MISSING }'), 'secret', /env:MISSING/],
  ['a secret for nothing', provider('method: none\nsecret: { fromEnv: A }'), 'secret', /none/],
  ['a zone that does not exist', 'kind: Application\nzone: nowhere\nname: a\n', 'zone', /no zone nowhere/],
  ['a document twice', 'kind: Application\nname: a\n---\nkind: Application\nname: a\n', 'name', /more than once/],
  [
    'a condition with a type error',
    policy('allow: [a], on: ["*"], for: { any: true }, when: "delegation.depth == \'x\'"'),
    'rules[0].when',
    /./,
  ],
  [
    'an allow for whoever labels himself',
    policy('allow: ["notes:read"], on: ["https://notes.example/"], for: { any: true }, when: "session.labels.exists(l, l == \'x\')"'),
    'rules[0].when',
    /self-declared/,
  ],
]

describe('a bad set', () => {
  test.each(BAD)('[P-026] %s: file, line and field are named and nothing of the set is applied', async (_, text, field, message) => {
    const before = await everything()
    const values = { mode: 'apply', activate: true, documents: [{ file: 'bad.yaml', text: GOOD + text }], secrets: { 'env:A': 'value' } }
    const answer = await api.call('POST', '/v1/apply', values)
    expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
    expect(answer.body.errors).toContainEqual({
      file: 'bad.yaml',
      line: expect.toSatisfy((line: number) => line >= 4),
      column: expect.any(Number),
      field,
      message: expect.stringMatching(message),
    })
    expect(await everything()).toBe(before)
  })

  test('the problems of documents that only together are wrong come at once', async () => {
    const text = `${resource('').replace('provider: open', 'provider: nobody')}---\n${provider('method: bearer')}`
    const answer = await api.apply(text)
    expect(answer.body.errors.map(({ field }: { field: string }) => field).sort()).toEqual(['provider', 'secret'])
  })

  test('a provider cannot be taken away from under a resource that stays', async () => {
    const answer = await api.apply('kind: Provider\nname: open\nmethod: bearer\nsecret: { fromEnv: A }\nhosts: [other.example]\n')
    expect(answer.body.errors).toContainEqual(expect.objectContaining({ field: 'hosts', message: expect.stringContaining('notes') }))
  })

  test('[P-124] without the STS a set with a secret answers 503 and changes nothing', async () => {
    const before = await everything()
    const values = {
      mode: 'apply',
      activate: true,
      documents: [{ file: 'a', text: GOOD + provider('method: bearer\nsecret: { fromEnv: A }') }],
    }
    const answer = await api.call('POST', '/v1/apply', { ...values, secrets: { 'env:A': 'value' } })
    expect(answer).toMatchObject({ status: 503, body: { code: 'sts_unavailable' } })
    expect(answer.headers.get('retry-after')).not.toBeNull()
    expect(await everything()).toBe(before)
  })
})

describe('a change', () => {
  const changed: readonly [what: string, from: string | RegExp, to: string, kind: string, words: string[]][] = [
    ['labels of a zone', 'labels: [test]', 'labels: [test, frozen]', 'Zone', ['labels: test → test,frozen']],
    ['labels of an application', 'labels: [agents]', 'labels: []', 'Application', ['labels: agents → -']],
    [
      'hosts of a provider',
      '["127.0.0.1:8090"]',
      '["127.0.0.1:8090", "b.example"]',
      'Provider',
      ['hosts: 127.0.0.1:8090 → 127.0.0.1:8090,b.example'],
    ],
    ['the provider of a resource', 'provider: open\nscopes', 'scopes', 'Resource', ['provider: open → -']],
    [
      'operations',
      '{ method: GET, path: /notes,',
      '{ method: GET, path: /all,',
      'Resource',
      ['operation removed: GET /notes (notes:read)', 'operation added: GET /all (notes:read)'],
    ],
    ['a default', 'provider: open\nscopes', 'provider: open\nmandateLife: 60\nscopes', 'Resource', ['mandateLife: 300 → 60']],
    ['a rule', '- id: read', '- id: look', 'Policy', ['rule removed: read', 'rule added: look']],
  ]
  test.each(changed)('[P-129] of %s is one update, in words, and the rest stays', async (_, from, to, kind, words) => {
    const planned = await api.apply(SAMPLE.replace(from, to), { mode: 'plan' })
    expect(planned.status).toBe(200)
    const updates = planned.body.steps.filter(({ action }: { action: string }) => action === 'update')
    expect(updates).toEqual([expect.objectContaining({ kind, changes: words })])
  })

  test('of a policy says who can do what after it', async () => {
    const planned = await api.apply(SAMPLE.replace('allow: ["notes:read"]', 'allow: ["notes:*"]'), { mode: 'plan' })
    const [step] = planned.body.steps.filter(({ action }: { action: string }) => action === 'activate')
    expect(step.changes).toEqual(['agent: notes:delete at https://notes.example/ is allowed (before: is denied)'])
  })

  test('a policy that is applied without activation is not activated by somebody else’s apply', async () => {
    const draft = 'kind: Policy\nname: draft\nrules:\n  - { id: all, allow: ["*"], on: ["*"], for: { any: true } }\n'
    expect((await api.apply(draft, { activate: false })).body.steps.map(({ action }: { action: string }) => action)).toEqual(['create'])
    const later = await api.apply('kind: Policy\nname: other\nrules:\n  - { id: none, deny: ["x"], on: ["*"], for: { any: true } }\n')
    expect(later.status).toBe(200)
    const head = await api.database.query.selectFrom('policy_heads').selectAll().executeTakeFirstOrThrow()
    const set = await api.database.query
      .selectFrom('policy_set_versions')
      .selectAll()
      .where('id', '=', head.set_version)
      .executeTakeFirstOrThrow()
    const versions = await api.database.query
      .selectFrom('policy_versions')
      .selectAll()
      .where(
        'id',
        'in',
        set.members.map(({ version }) => version),
      )
      .execute()
    expect(versions.map(({ canonical }) => JSON.parse(canonical).name).sort()).toEqual(['notes', 'other'])
  })
})
