import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseDocuments } from './parse-documents.ts'

const parse = (text: string) => parseDocuments([{ file: 'a.yaml', text }])

describe('parseDocuments', () => {
  for (const folder of ['examples/quickstart', 'examples/npm-registry/documents']) {
    test(`the documents of ${folder} are accepted`, () => {
      const root = join(import.meta.dirname, '../../../..', folder)
      const files = readdirSync(root).filter((name) => name.endsWith('.yaml'))
      const { documents, problems } = parseDocuments(files.map((file) => ({ file, text: readFileSync(join(root, file), 'utf8') })))
      expect(problems).toEqual([])
      expect(documents.length).toBeGreaterThan(3)
    })
  }

  const resource = 'kind: Resource\nname: notes\nidentifier: https://notes.example/\nupstream: http://127.0.0.1:1\nscopes: [a]\n'
  const wrong: readonly [what: string, text: string, problem: { line: number; column: number; field: string; message: unknown }][] = [
    ['an unknown key', 'kind: Zone\nname: a\nlable: [x]\n', { line: 3, column: 1, field: 'lable', message: 'unknown key' }],
    ['a missing key', 'kind: Zone\n', { line: 1, column: 1, field: 'name', message: 'is missing' }],
    ['a key twice', 'kind: Zone\nname: a\nname: b\n', { line: 3, column: 1, field: 'name', message: 'stands more than once' }],
    ['a wrong type', 'kind: Zone\nname: a\nlabels: x\n', { line: 3, column: 1, field: 'labels', message: expect.any(String) }],
    [
      'a malformed name',
      'kind: Zone\nname: Not_A_Name\n',
      { line: 2, column: 1, field: 'name', message: expect.stringContaining('lower-case') },
    ],
    [
      'an unknown kind',
      'kind: Zoo\nname: a\n',
      { line: 1, column: 1, field: 'kind', message: expect.stringContaining('Zone, Application') },
    ],
    ['no mapping', '- a\n', { line: 1, column: 1, field: '', message: expect.any(String) }],
    ['a syntax error', 'kind: [Zone\n', { line: 2, column: 1, field: '', message: expect.any(String) }],
    ['an unknown value', `${resource}type: ftp\n`, { line: 6, column: 1, field: 'type', message: 'must be one of http, mcp' }],
    [
      'an unknown key within',
      `${resource}operations:\n  - { method: GET, path: /a, scopes: a, scope: a }\n`,
      { line: 7, column: 30, field: 'operations[0].scopes', message: 'unknown key' },
    ],
    [
      'a secret in the document',
      'kind: Provider\nname: p\nmethod: bearer\nhosts: [a]\nsecret: { value: geheim }\n',
      { line: 5, column: expect.any(Number) as number, field: expect.stringContaining('secret') as string, message: expect.any(String) },
    ],
    [
      'a policy with an unknown key',
      'kind: Policy\nname: p\nrules:\n  - id: a\n    alow: [x]\n    on: ["*"]\n    for: { any: true }\n',
      { line: 5, column: 5, field: 'rules[0].alow', message: expect.stringContaining('allow') },
    ],
  ]

  test.each(wrong)('[P-026] %s is a problem with line, column and field, and nothing of the set is taken', (_, text, problem) => {
    const { documents, problems } = parse(`${text}`)
    expect(documents).toEqual([])
    expect(problems).toContainEqual({ file: 'a.yaml', ...problem })
  })

  test('the problems of all files come at once', () => {
    const { problems } = parseDocuments([
      { file: 'a.yaml', text: 'kind: Zone\n' },
      { file: 'b.yaml', text: 'kind: Zone\nname: b\n---\nkind: Zone\n' },
    ])
    expect(problems.map(({ file, line }) => `${file}:${line}`)).toEqual(['a.yaml:1', 'b.yaml:4'])
  })

  test('the zone of a policy is not part of the policy', () => {
    const { documents } = parse('kind: Policy\nzone: a\nname: p\nrules:\n  - { id: r, allow: [x], on: ["*"], for: { any: true } }\n')
    expect(documents).toMatchObject([{ kind: 'Policy', zone: 'a', body: { kind: 'Policy', name: 'p' } }])
  })
})

test.each([
  ['provider', 6, 1],
  ['operations[0].scope', 9, 34],
  ['egressAllow', 1, 1],
])('what is found wrong with %s after parsing is placed where it stands', (field, line, column) => {
  const text = `kind: Resource
zone: lab
name: notes
identifier: https://notes.example/
upstream: http://127.0.0.1:8090
provider: absent
scopes: [read]
operations:
  - { method: GET, path: /notes, scope: write }
`
  const { documents, problems } = parseDocuments([{ file: 'a.yaml', text }])
  expect(problems).toEqual([])
  expect(documents[0]?.placeOf(field)).toEqual({ file: 'a.yaml', line, column })
})
