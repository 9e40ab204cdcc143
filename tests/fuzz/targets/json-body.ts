import { parseJsonBody } from '@caracal/service'
import fc from 'fast-check'
import { mutated } from '../mutate.ts'
import { same } from '../same.ts'
import { target } from '../target.ts'

const CORPUS = [
  '{"amount":1,"to":{"name":"ä","list":[1,{"a":1},{"a":2}]}}',
  '{"a":1,"\\u0061":2}',
  '{"a":{"b":1},"b":[{"b":"x,\\"b\\":{"}]}',
  '[{"__proto__":{"admin":true}},"}{",-0,1e400]',
  `${'['.repeat(64)}1${']'.repeat(64)}`,
]

/** Objects whose keys are from few, so that some stand twice. */
const { document } = fc.letrec<{ document: string }>((tie) => ({
  document: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.json({ maxDepth: 1 }),
    fc
      .array(fc.tuple(fc.constantFrom('"a"', '"\\u0061"', '"b"', '""', '"__proto__"', '"a\\""'), tie('document')), { maxLength: 3 })
      .map((members) => `{${members.map(([name, value]) => `${name}: ${value}`).join(' ,')}}`),
    fc.array(tie('document'), { maxLength: 3 }).map((items) => `[${items.join(',')}]`),
  ),
}))

export const jsonBody = target(
  {
    name: 'json-body',
    guarantee:
      '[P-089] a JSON body is read exactly when it is UTF-8 JSON, at most 64 deep, without __proto__ and with every key once; and says what JSON.parse says',
    runs: 4000,
  },
  fc.oneof(mutated(CORPUS), document.map(Buffer.from), mutated(['{"a":1,"a":1}', '{"b":{"a":0},"a":[]}'], 8)),
  (bytes) => {
    const read = parseJsonBody(bytes)
    let value: unknown
    let text: string
    try {
      text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
      value = JSON.parse(text)
    } catch {
      return same(read.ok, false, 'no JSON')
    }
    // JSON.parse keeps one of those that stand twice: then fewer are kept than written.
    const written = text.match(/"(?:[^"\\]|\\.)*"\s*:?/g)?.filter((token) => token.endsWith(':')).length ?? 0
    const { kept, depth, hostile } = measure(value)
    same(read.ok, written === kept && depth <= 64 && !hostile, `${written} keys, ${kept} kept, ${depth} deep`)
    if (read.ok) same(read.value, value)
  },
)

function measure(value: unknown): { kept: number; depth: number; hostile: boolean } {
  if (typeof value !== 'object' || value === null) return { kept: 0, depth: 0, hostile: false }
  const inner = Object.values(value).map(measure)
  return {
    kept: (Array.isArray(value) ? 0 : Object.keys(value).length) + inner.reduce((sum, { kept }) => sum + kept, 0),
    depth: 1 + Math.max(0, ...inner.map(({ depth }) => depth)),
    hostile: Object.hasOwn(value, '__proto__') || inner.some(({ hostile }) => hostile),
  }
}
