import { posix } from 'node:path'
import { compileOperations, parsePath } from '@caracal/enforcement'
import fc from 'fast-check'
import { parseRequestTarget } from '../../../apps/gateway/src/request-target.ts'
import { mutatedText } from '../mutate.ts'
import { same } from '../same.ts'
import { target } from '../target.ts'

const spelled = fc
  .array(
    fc.constantFrom(
      '/',
      '//',
      '/admin',
      '/public',
      '/%61dmin',
      '/Admin',
      'x',
      '.',
      '..',
      '%2e',
      '%2E%2e',
      '%252e',
      '%2f',
      '%2F',
      '%5c',
      '\\',
      ';',
      ';a=b',
      '%3b',
      '%00',
      '%0a',
      '%c0%af',
      '%ef%bc%8f',
      '?',
      '#',
      ' ',
      '%20',
      '%',
      '%zz',
      '*',
      ':',
      '@',
      'ä',
      '%25',
      '%2525',
    ),
    { maxLength: 8 },
  )
  .map((parts) => `/${parts.join('')}`)
const inputs = fc.oneof(
  spelled,
  mutatedText(['/r/lab/public/a%20b/../c?x=%2e%2e&y', '/admin/keys', '/public/x/admin/y?a=b#c', 'http://h/admin', '*']),
)

const compiled = compileOperations({
  scopes: ['public', 'admin'],
  operations: [
    { method: 'GET', path: '/public/{rest+}', scope: 'public' },
    { method: 'GET', path: '/admin/{rest+}', scope: 'admin' },
  ],
  encodedSeparators: 'literal',
})
if (!compiled.ok) throw new Error(compiled.detail)

/** As the most obliging server would: decoded until nothing changes, backslashes are slashes, parameters go, dots are resolved. */
function obliging(path: string): string {
  let text = path
  for (let round = 0; round < 12; round += 1)
    text = text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return posix.normalize(text.replaceAll('\\', '/').replaceAll(/;[^/]*/g, ''))
}

export const requestTarget = target(
  {
    name: 'request-target',
    guarantee:
      '[P-063] what is decided on is what is forwarded, and no server that resolves it in its own way gets outside of what was decided',
    runs: 5000,
  },
  inputs,
  (asked) => {
    const read = parseRequestTarget(asked)
    if (!read.ok) return
    const { path, query } = read.value
    same(path.raw + query, asked, 'forwarded')
    same(`/${path.segments.join('/')}`, path.raw, 'segments')
    same(parsePath(path.raw), { ok: true, value: path }, 'read again')
    // What URL parsers leave alone: no dot segment, nothing that ends the path early, no other host.
    const url = new URL(`http://upstream.example${asked}`)
    same([url.host, url.pathname.split('/').length, url.hash], ['upstream.example', path.raw.split('/').length, ''], 'as URL')
    const match = compiled.value.match('GET', path)
    const reached = obliging(path.raw)
    if (match.ok && !reached.startsWith(`/${match.value.scope}/`))
      throw new Error(`${asked} is ${match.value.scope} and may reach ${reached}`)
  },
)
