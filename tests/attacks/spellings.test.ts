import { type AddressInfo, createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { open, type Range, startRange, statuses } from './range.ts'

/** Request targets as they reached the upstream. */
const seen: string[] = []
const upstream = createServer((socket) => {
  let text = ''
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
    for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n')) {
      seen.push(text.slice(0, text.indexOf('\r\n')).split(' ')[1] ?? '')
      text = text.slice(end + 4)
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    }
  })
})

let range: Range
let ruled: string
let plain: string

beforeAll(async () => {
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const operations = `operations:
  - { method: GET, path: "/items/{id}", scope: "use" }
  - { method: GET, path: "/files/{name+}", scope: "use" }
  - { method: GET, path: "/admin/secret", scope: "admin" }`
  range = await startRange({
    ruled: { url, more: `egressAllow: [127.0.0.0/8]\nscopes: ["use", "admin"]\n${operations}` },
    plain: { url },
  })
  ruled = await range.mandate('ruled', { scope: 'use', ttl: '900' })
  plain = await range.mandate('plain', { ttl: '900' })
}, 120_000)
afterAll(async () => {
  await range?.stop()
  upstream.close()
})

const hex = (character: string, upper = true) => {
  const escaped = `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`
  return upper ? escaped.toUpperCase() : escaped
}
const each = (path: string, of: RegExp, to: (character: string) => string) => path.replace(of, to)

/** Ways to write a path differently. Some servers read some of them as the same path. */
const TRICKS: Readonly<Record<string, (path: string) => string>> = {
  'as it is': (path) => path,
  'every letter encoded': (path) => each(path, /[a-z]/g, (one) => hex(one)),
  'every letter encoded in lower case': (path) => each(path, /[a-z]/g, (one) => hex(one, false)),
  'one letter encoded': (path) => path.replace('i', '%69'),
  'one letter encoded twice': (path) => path.replace('i', '%2569'),
  'one letter encoded three times': (path) => path.replace('i', '%252569'),
  'slashes encoded': (path) => path[0] + each(path.slice(1), /\//g, () => '%2F'),
  'slashes encoded in lower case': (path) => path[0] + each(path.slice(1), /\//g, () => '%2f'),
  'slashes encoded twice': (path) => path[0] + each(path.slice(1), /\//g, () => '%252F'),
  backslashes: (path) => path[0] + each(path.slice(1), /\//g, () => '\\'),
  'encoded backslashes': (path) => path[0] + each(path.slice(1), /\//g, () => '%5C'),
  'overlong slashes': (path) => path[0] + each(path.slice(1), /\//g, () => '%C0%AF'),
  'fullwidth slashes': (path) => path[0] + each(path.slice(1), /\//g, () => '%EF%BC%8F'),
  'a fullwidth letter': (path) => path.replace('a', '%EF%BD%81'),
  'a dotless letter': (path) => path.replace('i', '%C4%B1'),
  'upper case': (path) => path.toUpperCase(),
  'one upper-case letter': (path) => path.replace('s', 'S'),
  'doubled slashes': (path) => each(path, /\//g, () => '//'),
  'a slash at the end': (path) => `${path}/`,
  'a dot at the end': (path) => `${path}.`,
  'a blank at the end': (path) => `${path}%20`,
  'a NUL at the end': (path) => `${path}%00`,
  'a line end at the end': (path) => `${path}%0d%0a`,
  'a suffix': (path) => `${path}.json`,
  'a parameter at the end': (path) => `${path};a=b`,
  'a parameter in the middle': (path) => path.replace('/s', ';a=b/s'),
  'a dot segment': (path) => `/.${path}`,
  'an encoded dot segment': (path) => `/%2e${path}`,
  'a detour': (path) => `/items/..${path}`,
  'an encoded detour': (path) => `/items/%2e%2e${path}`,
  'a half-encoded detour': (path) => `/items/.%2E${path}`,
  'a detour encoded twice': (path) => `/items/%252e%252e${path}`,
  'a detour with a parameter': (path) => `/items/..;x${path}`,
  'a detour in one segment': (path) => `/files/..%2f${path.slice(1)}`,
  'a detour at the end': (path) => `${path}/x/..`,
  'a bad escape': (path) => `${path}%zz`,
  'half an escape': (path) => `${path}%2`,
  'an empty query': (path) => `${path}?`,
  'a query': (path) => `${path}?x=/../items/1`,
  'a fragment': (path) => `${path}#x`,
  'an encoded question mark': (path) => `${path}%3fx`,
  'raw UTF-8': (path) => `${path}\xc3\xa9`,
  'a tab': (path) => path.replace('/s', '/\ts'),
}
const names = Object.keys(TRICKS)
const spelled = (path: string, first: string, second: string) => TRICKS[second]?.(TRICKS[first]?.(path) ?? path) ?? path

/** The most lenient reading of a path: what some server behind some proxy would make of it. */
function mostLenient(path: string): string {
  let text = path.split(/[?#]/)[0] ?? ''
  for (let before = ''; before !== text; ) {
    before = text
    text = text
      .replace(/%c0%af|%ef%bc%8f/gi, '/')
      .replace(/%ef%bd%81/gi, 'a')
      .replace(/%c4%b1/gi, 'i')
    text = text.replace(/%([0-9a-f]{2})/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
  }
  const kept: string[] = []
  for (const segment of text.replaceAll('\\', '/').split('/')) {
    const name = segment.split(';')[0]?.replace(/[.\s\0]+$/, (end) => (/^\.{1,2}$/.test(segment.split(';')[0] ?? '') ? end : '')) ?? ''
    if (name === '..') kept.pop()
    else if (name !== '' && name !== '.') kept.push(name.toLowerCase())
  }
  return `/${kept.join('/')}`
}

/** Sends targets over one connection each, in groups; a status for each. */
async function ask(targets: readonly string[], token: string): Promise<number[]> {
  const found: number[] = []
  for (let at = 0; at < targets.length; at += 40) {
    const answers = targets
      .slice(at, at + 40)
      .map(
        (target) =>
          open(range.port('gateway'), `GET ${target} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer ${token}\r\nConnection: close\r\n\r\n`)
            .ended,
      )
    found.push(...(await Promise.all(answers)).map((answer) => statuses(answer)[0] ?? 0))
  }
  return found
}

describe('every spelling of a protected path gets the same answer: no', () => {
  test.each(names)(
    '%s, and everything on top of it [P-063]',
    async (first) => {
      seen.length = 0
      const targets = names.map((second) => `/r/ruled${spelled('/admin/secret', first, second)}`)
      const found = await ask(targets, ruled)
      targets.forEach((target, at) => {
        expect([200, 400, 403], `${target}: ${found[at]}`).toContain(found[at])
        // What is meant in any reading is refused, whatever else the same bytes could be.
        if (mostLenient(target.slice('/r/ruled'.length)) === '/admin/secret') expect(found[at], target).not.toBe(200)
      })
      const passed = targets.filter((_, at) => found[at] === 200).map((target) => target.slice('/r/ruled'.length))
      expect(seen.map(mostLenient)).not.toContain('/admin/secret')
      expect([...seen].sort()).toEqual(passed.sort())
    },
    120_000,
  )

  test.each([
    ['absolute-form', () => 'http://gw/r/ruled/admin/secret'],
    ['absolute-form of the upstream', () => `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/admin/secret`],
    ['authority-form', () => 'gw:80'],
    ['asterisk', () => '*'],
    ['no slash', () => 'r/ruled/admin/secret'],
    ['two slashes before', () => '//r/ruled/admin/secret'],
    ['a host before', () => '//gw/r/ruled/admin/secret'],
    ['another case of the route', () => '/R/ruled/admin/secret'],
    ['another case of the resource', () => '/r/Ruled/admin/secret'],
    ['an encoded route', () => '/%72/ruled/admin/secret'],
    ['an encoded resource', () => '/r/%72uled/admin/secret'],
    ['a detour to the resource', () => '/r/plain/../ruled/admin/secret'],
    ['an encoded slash to the resource', () => '/r/ruled%2fadmin/secret'],
    ['a detour out of the resource', () => '/r/ruled/../../admin/secret'],
  ])('%s [P-063]', async (_, target) => {
    seen.length = 0
    const [found] = await ask([target()], ruled)
    expect([400, 401, 403, 404, 405]).toContain(found)
    expect(seen).toEqual([])
  })
})

test('where no operation is ruled a path is refused as malformed or goes out byte for byte [P-063]', async () => {
  seen.length = 0
  const targets = names.flatMap((first) => names.slice(0, 20).map((second) => `/r/plain${spelled('/admin/secret', first, second)}`))
  const found = await ask(targets, plain)
  expect(new Set(found)).toEqual(new Set([200, 400]))
  const passed = targets.filter((_, at) => found[at] === 200).map((target) => target.slice('/r/plain'.length))
  expect([...seen].sort()).toEqual(passed.sort())
}, 120_000)
