import fc from 'fast-check'

const oneOf = fc.constantFrom<string[]>
const dyns = oneOf(
  'operation.body',
  'operation.body.a',
  'operation.body.b',
  'operation.body.a.b',
  'operation.body.list',
  'operation.body.list[0]',
  'operation.body.list[1].a',
  'operation.body["a"]',
  'operation.body.toString',
  'operation.body.constructor',
  'operation.body.__proto__',
  'operation.arguments',
  'operation.arguments.a',
  'subject.claims.role',
  'subject.claims["role"]',
  'subject.claims.a.b',
)
const texts = oneOf(
  'zone.id',
  'zone.name',
  'application.name',
  'subject.id',
  'subject.issuer',
  'session.id',
  'session.kind',
  'resource.kind',
  'resource.identifier',
  'scope',
  'operation.method',
  'operation.path',
  'operation.template',
  'operation.tool',
  'operation.params.a',
  'operation.params["b"]',
  'operation.query.a',
  'operation.query.role',
  'operation.headers["x-y"]',
  'operation.headers.a',
  'request.peer',
)
const numbers = oneOf('session.depth', 'delegation.depth', 'mandate.ttl', 'request.time.getHours()', 'request.time.getFullYear()')
const lists = oneOf('zone.labels', 'application.labels', 'session.labels')
const maps = oneOf('subject.claims', 'operation.params', 'operation.query', 'operation.headers')
const names = oneOf('a', 'b', 'role', 'constructor', 'toString', '__proto__')
const textLiteral = oneOf('"a"', '"b"', '""', '"task"', '"none"', '"POST"', '"pay:out"', '"é"', '"role"', '"constructor"')
const intLiteral = oneOf('0', '1', '2', '-1', '300', '14', '9007199254740991')
const doubleLiteral = oneOf('0.0', '1.0', '-0.0', '-1.5', '2.5', '500.0')
const instant = oneOf(
  'request.time',
  'timestamp("2026-01-15T14:30:00Z")',
  'timestamp("2026-01-15T14:30:00.001+01:00")',
  'timestamp("0001-01-01T00:00:00Z")',
  'timestamp("yesterday, it seems")',
)
const order = oneOf('<', '<=', '>', '>=')
const compare = oneOf('==', '!=', '<', '<=', '>', '>=')
const part = oneOf('contains', 'startsWith', 'endsWith')

const join = (...parts: fc.Arbitrary<string>[]) => fc.tuple(...parts).map((said) => said.join(''))
const is = (text: string) => fc.constant(text)

/** Texts of conditions, most of which compile: of everything that policies usually say, over every kind of field, and what they rarely say. */
export const { condition: arbitraryCondition } = fc.letrec<{ condition: string; test: string; dyn: string; text: string; number: string }>(
  (tie) => {
    const [condition, test, dyn, text, number] = [tie('condition'), tie('test'), tie('dyn'), tie('text'), tie('number')]
    const element = oneOf('x', 'x.a', 'x.b', 'x["a"]', 'y')
    const literal = fc.oneof(textLiteral, intLiteral, doubleLiteral, oneOf('true', 'false', 'null'))
    const listed = fc.oneof(
      ...[textLiteral, intLiteral, doubleLiteral].map((kind) => fc.array(kind, { maxLength: 3 }).map((all) => `[${all.join(', ')}]`)),
    )
    return {
      dyn: fc.oneof(
        { weight: 12, arbitrary: dyns },
        { weight: 2, arbitrary: element },
        { weight: 1, arbitrary: join(is('dyn('), fc.oneof(text, number), is(')')) },
        { weight: 1, arbitrary: join(is('('), test, is(' ? '), dyn, is(' : '), fc.oneof(dyn, text, number, oneOf('null')), is(')')) },
      ),
      text: fc.oneof(
        { weight: 8, arbitrary: texts },
        { weight: 4, arbitrary: textLiteral },
        { weight: 1, arbitrary: join(is('('), text, is(' + '), text, is(')')) },
        { weight: 1, arbitrary: join(is('('), test, is(' ? '), text, is(' : '), text, is(')')) },
        { weight: 1, arbitrary: join(is('string('), number, is(')')) },
      ),
      number: fc.oneof(
        { weight: 8, arbitrary: numbers },
        { weight: 4, arbitrary: intLiteral },
        { weight: 2, arbitrary: join(is('size('), fc.oneof(text, lists, maps, dyn), is(')')) },
        { weight: 2, arbitrary: join(fc.oneof(text, lists, maps, dyn), is('.size()')) },
        { weight: 1, arbitrary: join(is('('), number, oneOf(' + ', ' - ', ' * ', ' / ', ' % '), number, is(')')) },
        { weight: 1, arbitrary: join(is('int('), dyn, is(')')) },
      ),
      test: fc.oneof(
        { weight: 5, arbitrary: join(text, compare, text) },
        { weight: 5, arbitrary: join(number, compare, fc.oneof(number, intLiteral)) },
        { weight: 2, arbitrary: join(number, order, doubleLiteral) },
        { weight: 6, arbitrary: join(dyn, compare, fc.oneof(literal, dyn, text, number)) },
        { weight: 2, arbitrary: join(fc.oneof(literal, text, number), compare, dyn) },
        { weight: 1, arbitrary: join(instant, compare, instant) },
        { weight: 2, arbitrary: join(fc.oneof(text, dyn, number, literal), is(' in '), fc.oneof(listed, lists, maps, dyn)) },
        { weight: 2, arbitrary: join(fc.oneof(text, dyn), is('.'), part, is('('), fc.oneof(text, dyn), is(')')) },
        {
          weight: 3,
          arbitrary: join(is('has('), fc.oneof(dyns, texts, lists, maps, element, join(fc.oneof(dyns, maps), is('.'), names)), is(')')),
        },
        { weight: 1, arbitrary: oneOf('mandate.once', 'mandate.senderConstrained', 'true', 'false') },
        { weight: 1, arbitrary: dyn },
        { weight: 1, arbitrary: join(fc.oneof(lists, maps, dyn), oneOf('==', '!='), fc.oneof(lists, maps, dyn, listed)) },
        {
          weight: 3,
          arbitrary: join(
            fc.oneof(lists, dyn, maps),
            is('.'),
            oneOf('exists', 'all', 'exists_one'),
            is('('),
            oneOf('x', 'y'),
            is(', '),
            condition,
            is(')'),
          ),
        },
        { weight: 1, arbitrary: join(fc.oneof(lists, dyn), is('.filter(x, '), condition, is(').size() > 0')) },
      ),
      condition: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        test,
        join(is('!('), condition, is(')')),
        join(is('('), condition, oneOf(' && ', ' || '), condition, is(')')),
        join(is('('), condition, is(' ? '), condition, is(' : '), condition, is(')')),
      ),
    }
  },
)
