import fc from 'fast-check'

type Edit = {
  readonly kind: 'set' | 'insert' | 'drop' | 'double' | 'move' | 'token'
  readonly at: number
  readonly length: number
  readonly byte: number
  readonly token: string
}

/** What parsers stumble over: separators, escapes, other encodings of them, other spellings of white space, numbers at edges. */
const TOKENS = [
  '&',
  '=',
  '+',
  '%',
  '%00',
  '%2e',
  '%2F',
  '%5c',
  '%252e',
  '%c0%ae',
  '..',
  '/./',
  '//',
  ';',
  '?',
  '#',
  '\\',
  '\0',
  '\n',
  '\r\n',
  '\t',
  '\u0085',
  '\u00a0',
  '\u2028',
  '\ufeff',
  '"',
  "'",
  '{',
  '}',
  '[',
  ']',
  ':',
  ',',
  '&a ',
  '*a',
  '<<: ',
  '!!str ',
  '---\n',
  '__proto__',
  'constructor',
  'null',
  'true',
  '1e999',
  '-0',
  '9007199254740993',
  '18446744073709551616',
  '\\u0000',
  '\\ud800',
  '\u202e',
  'ä',
  '😀',
  ' ',
  '— ',
  '\n\n',
  '.',
  '==',
  '-',
  '_',
  '()',
  '||',
  '&&',
  '!',
  '[0]',
]

const edit: fc.Arbitrary<Edit> = fc.record({
  kind: fc.constantFrom('set', 'insert', 'drop', 'double', 'move', 'token'),
  at: fc.nat(),
  length: fc.integer({ min: 1, max: 24 }),
  byte: fc.nat(255),
  token: fc.constantFrom(...TOKENS),
})

/** Valid inputs with a few bytes changed. Shrinks to fewer edits. */
export function mutated(corpus: readonly (string | Uint8Array)[], most = 4): fc.Arbitrary<Buffer> {
  const originals = corpus.map((text) => Buffer.from(text as string))
  return fc.tuple(fc.constantFrom(...originals), fc.array(edit, { maxLength: most })).map(([bytes, edits]) => edits.reduce(apply, bytes))
}

/** The same, as text. */
export function mutatedText(corpus: readonly string[], most = 4): fc.Arbitrary<string> {
  return mutated(corpus, most).map((bytes) => bytes.toString())
}

function apply(bytes: Buffer, { kind, at, length, byte, token }: Edit): Buffer {
  const place = at % (bytes.length + 1)
  const [head, piece, tail] = [bytes.subarray(0, place), bytes.subarray(place, place + length), bytes.subarray(place + length)]
  switch (kind) {
    case 'set':
      return Buffer.concat([head, Buffer.from([byte]), bytes.subarray(place + 1)])
    case 'insert':
      return Buffer.concat([head, Buffer.from([byte]), piece, tail])
    case 'token':
      return Buffer.concat([head, Buffer.from(token), piece, tail])
    case 'drop':
      return Buffer.concat([head, tail])
    case 'double':
      return Buffer.concat([head, piece, piece, tail])
    case 'move':
      return Buffer.concat([piece, head, tail])
  }
}
