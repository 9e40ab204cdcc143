import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { canonicalJson, parsePolicy, policyFromJson } from '@caracal/core'
import fc from 'fast-check'
import { Document, parseDocument, stringify } from 'yaml'
import { mutatedText } from '../mutate.ts'
import { same } from '../same.ts'
import { target } from '../target.ts'

const CORPUS_FOLDER = join(import.meta.dirname, '../../../packages/core/src/policy/corpus')
const corpus = readdirSync(CORPUS_FOLDER).flatMap((file) => {
  const { documents } = parseDocument(readFileSync(join(CORPUS_FOLDER, file), 'utf8')).toJS() as { documents: unknown[] }
  return documents.map((document) => stringify(document))
})
const hostile = [
  'a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d]\n',
  'kind: Policy\nname: &n x\nrules:\n  - { id: *n, allow: [a], on: [b], for: { any: true } }\n',
  'kind: Policy\nname: x\nrules:\n  - <<: { id: r, allow: [a] }\n    on: [b]\n    for: { any: true }\n',
  'kind: Policy\nname: x\nname: y\nrules: []\n',
  '%YAML 1.1\n---\nkind: Policy\nname: yes\nrules:\n  - { id: on, allow: [0o7], on: [1_000], for: { any: yes } }\n',
]

export const policy = target(
  {
    name: 'policy',
    guarantee:
      '[P-026] a policy that is read means the same when printed and read again, as JSON and as YAML, and holds nothing that its text does not',
    runs: 1200,
  },
  fc.oneof({ arbitrary: mutatedText(corpus), weight: 8 }, { arbitrary: mutatedText(hostile), weight: 2 }),
  (text) => {
    const read = parsePolicy(text)
    if (!read.ok) {
      if (read.problems.length === 0 || read.detail === '') throw new Error('refused without a word')
      return
    }
    const stored = policyFromJson(JSON.parse(canonicalJson(read.value)))
    same(stored.ok && canonicalJson(stored.value), canonicalJson(read.value), 'stored and read')
    // A plain reader of YAML finds the same in it: each key once, no more documents, the same names and scopes.
    const plain = parseDocument(text, { version: '1.2', uniqueKeys: true })
    same(plain.errors.length, 0, 'errors of a plain reader')
    const value = plain.toJS() as { name: string; rules: Record<string, unknown>[] }
    same([read.value.name, read.value.rules.map(({ id }) => id)], [value.name, value.rules.map(({ id }) => id)])
    for (const [at, rule] of read.value.rules.entries()) {
      same(rule.scopes, [value.rules[at]?.[rule.effect]].flat(), `rule ${rule.id}`)
      same(rule.when, value.rules[at]?.when, `condition of ${rule.id}`)
    }
    const again = parsePolicy(String(new Document(value)))
    same(again.ok && canonicalJson(again.value), canonicalJson(read.value), 'printed and read')
  },
)
