import type { Operation } from '@caracal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileOperations } from './match-operation.ts'
import { parsePath } from './parse-path.ts'

function compiled(operations: readonly string[], encodedSeparators: 'refuse' | 'literal' = 'refuse') {
  const parsed: Operation[] = operations.map((line) => {
    const [method = '', path = '', scope = ''] = line.split(' ')
    return { method, path, scope }
  })
  return compileOperations({ operations: parsed, scopes: [...new Set(parsed.map((o) => o.scope))], encodedSeparators })
}

/** The scope that a request needs, or why it has none. */
function ask(operations: readonly string[], method: string, path: string, separators: 'refuse' | 'literal' = 'refuse'): string {
  const index = compiled(operations, separators)
  if (!index.ok) return `bad operations: ${index.detail}`
  const parsed = parsePath(path)
  if (!parsed.ok) return parsed.reason
  const match = index.value.match(method, parsed.value)
  return match.ok ? match.value.scope : match.reason
}

const api = [
  'GET /repos/{owner}/issues/{n} issues:read',
  'POST /repos/{owner}/issues issues:write',
  'GET /repos/{owner}/{rest+} repos:read',
  'GET /repos/{owner}/settings repos:admin',
  '* /admin/{path+} admin',
  'GET /{path+} read',
  'GET / root',
  'GET /list/ list',
]

describe('which operation a request is [P-064]', () => {
  it.each([
    ['GET', '/repos/acme/issues/7', 'issues:read'],
    ['POST', '/repos/acme/issues', 'issues:write'],
    ['GET', '/repos/acme/issues', 'repos:read'],
    ['GET', '/repos/acme/settings', 'repos:admin'],
    ['GET', '/repos/acme/settings/keys', 'repos:read'],
    ['GET', '/admin/x', 'admin'],
    ['DELETE', '/admin/x/y', 'admin'],
    ['DELETE', '/repos/acme', 'operation_not_declared'],
    ['PUT', '/repos/acme/issues/7', 'operation_not_declared'],
    ['get', '/repos/acme/issues/7', 'operation_not_declared'],
    ['GET', '/anything/else', 'read'],
    ['GET', '/', 'root'],
    ['GET', '/list/', 'list'],
  ])('%s %s needs %s', (method, path, expected) => {
    expect(ask(api, method, path)).toBe(expected)
  })

  it.each([
    ['HEAD', '/repos/acme/issues/7', 'issues:read'],
    ['HEAD', '/admin/x', 'admin'],
    ['HEAD', '/', 'root'],
  ])('governs %s %s as GET where it is not declared', (method, path, expected) => {
    expect(ask(api, method, path)).toBe(expected)
  })

  it('takes a declared HEAD before GET', () => {
    expect(ask(['HEAD /a h', 'GET /a g', '* /a any'], 'HEAD', '/a')).toBe('h')
    expect(ask(['GET /a g', '* /a any'], 'HEAD', '/a')).toBe('g')
    expect(ask(['GET /a g', '* /a any'], 'PATCH', '/a')).toBe('any')
  })

  it('gives the most specific template whatever the order of declaration', () => {
    const paths = ['/repos/acme/settings', '/repos/acme/issues/7', '/admin/x', '/x/y/z', '/repos/a/b/c/d']
    fc.assert(
      fc.property(fc.shuffledSubarray(api, { minLength: api.length }), fc.constantFrom(...paths), (order, path) => {
        expect(ask(order, 'GET', path)).toBe(ask(api, 'GET', path))
      }),
    )
  })

  it('hands out decoded parameters and leaves the path as it was', () => {
    const index = compiled(['GET /repos/{owner}/{rest+} read'], 'literal')
    const path = parsePath('/repos/%61cme%2Fx/a%20b/c')
    if (!index.ok || !path.ok) throw new Error('does not parse')
    const match = index.value.match('GET', path.value)
    expect(match.ok && match.value.params).toEqual({ owner: 'acme/x', rest: 'a b/c' })
    expect(match.ok && match.value.template).toBe('/repos/{owner}/{rest+}')
    expect(path.value.raw).toBe('/repos/%61cme%2Fx/a%20b/c')
  })

  it('matches in time that does not explode with nested alternatives', () => {
    const operations = Array.from(
      { length: 12 },
      (_, i) => `GET /${Array.from({ length: 12 }, (_, j) => (j < i ? 'a' : `{p${j}}`)).join('/')}/z s`,
    )
    expect(ask(operations, 'GET', `/${'a/'.repeat(11)}a/y`)).toBe('operation_not_declared')
  })
})

describe('spellings of a path [P-063]', () => {
  const ruled = [
    'GET /public/{name} public',
    'GET /admin admin',
    'GET /admin/@root admin',
    'GET /admin/{x} user',
    'GET /files/{path+} files',
    'GET /files/secret secret',
  ]
  it.each([
    ['/admin', 'admin'],
    ['/%61dmin', 'admin'],
    ['/%41dmin', 'operation_not_declared'],
    ['/Admin', 'operation_not_declared'],
    ['/admin/', 'operation_not_declared'],
    ['//admin', 'operation_not_declared'],
    ['/public//x', 'operation_not_declared'],
    ['/public/', 'operation_not_declared'],
    ['/public/x/', 'operation_not_declared'],
    ['/public/x;y', 'public'],
    ['/admin/%40root', 'operation_not_declared'],
    ['/admin/@root;v=1', 'operation_not_declared'],
    ['/admin/%40other', 'user'],
    ['/files/a/b', 'files'],
    ['/files/a/b/', 'files'],
    ['/files/a//b', 'operation_not_declared'],
    ['/files/', 'operation_not_declared'],
    ['/files/secret', 'secret'],
    ['/files/secret/', 'operation_not_declared'],
    ['/files/s%65cret', 'secret'],
    ['/files/secret%3Bx', 'operation_not_declared'],
    ['/files/100%25', 'files'],
    ['/files/%25zz', 'files'],
    ['/files/%FF', 'malformed_path'],
    ['/files/a%2Fb', 'malformed_path'],
    ['/files/a%5cb', 'malformed_path'],
    ['/files/a%252Fb', 'files'],
    ['/public/../admin', 'malformed_path'],
    ['/public/./x', 'malformed_path'],
    ['/public/..', 'malformed_path'],
    ['/public/%2e%2e/admin', 'malformed_path'],
    ['/public/.%2E/admin', 'malformed_path'],
    ['/public/%252e%252e/admin', 'malformed_path'],
    ['/public/%25252e%25252e/admin', 'malformed_path'],
    ['/public/x%2f..%2fadmin', 'malformed_path'],
    ['/public/x%5c..%5cadmin', 'malformed_path'],
    ['/public/..;/admin', 'malformed_path'],
    ['/public/..%3B/admin', 'malformed_path'],
    ['/public/%c0%ae%c0%ae/admin', 'malformed_path'],
    ['/public/..%c0%afadmin', 'malformed_path'],
    ['/public\\admin', 'malformed_path'],
    ['/public/%', 'malformed_path'],
    ['/public/%4', 'malformed_path'],
    ['/public/%zz', 'malformed_path'],
    ['/public/a b', 'malformed_path'],
    ['/public/a?b', 'malformed_path'],
    ['/public/a#b', 'malformed_path'],
    ['/public/ä', 'malformed_path'],
    ['/public/a\u0000', 'malformed_path'],
    ['http://host/admin', 'malformed_path'],
    ['*', 'malformed_path'],
    ['', 'malformed_path'],
    [`/public/${'a'.repeat(9000)}`, 'malformed_path'],
    ['/public/...', 'public'],
    ['/public/.well-known', 'public'],
  ])('%s → %s', (path, expected) => {
    expect(ask(ruled, 'GET', path)).toBe(expected)
  })

  it('takes an encoded separator as a byte of its segment where the resource says so', () => {
    const npm = ['GET /{package} read', 'GET /{package}/-/{file} read', 'PUT /{package} publish']
    expect(ask(npm, 'GET', '/@scope%2fname', 'literal')).toBe('read')
    expect(ask(npm, 'PUT', '/@scope%2fname', 'literal')).toBe('publish')
    expect(ask(npm, 'GET', '/@scope/name', 'literal')).toBe('operation_not_declared')
    expect(ask(npm, 'GET', '/@scope%2fname', 'refuse')).toBe('malformed_path')
  })

  it('never lets any spelling of a narrower path be decided as something wider', () => {
    const operations = ['GET /{path+} any', 'GET /admin/keys admin']
    const spell = (text: string) =>
      fc.tuple(
        ...[...text].map((c) => fc.constantFrom(c, `%${c.charCodeAt(0).toString(16)}`, `%${c.charCodeAt(0).toString(16).toUpperCase()}`)),
      )
    fc.assert(
      fc.property(spell('admin'), spell('keys'), fc.constantFrom('', '/'), (a, b, slash) => {
        expect(['admin', 'operation_not_declared']).toContain(ask(operations, 'GET', `/${a.join('')}/${b.join('')}${slash}`))
      }),
    )
  })
})

describe('resources without operations', () => {
  it('need their single scope for everything, whatever the spelling', () => {
    const index = compileOperations({ operations: [], scopes: ['all'], encodedSeparators: 'refuse' })
    const path = parsePath('/a%2Fb//c/')
    if (!index.ok || !path.ok) throw new Error('does not parse')
    expect(index.value.match('PURGE', path.value)).toEqual({
      ok: true,
      value: { operation: null, template: null, params: {}, scope: 'all' },
    })
  })

  it.each([[[]], [['a', 'b']]])('are refused with the scopes %j', (scopes) => {
    expect(compileOperations({ operations: [], scopes, encodedSeparators: 'refuse' }).ok).toBe(false)
  })
})

describe('operations that cannot be meant', () => {
  it.each([
    ['GET a s'],
    ['GET /{a}/{a} s'],
    ['GET /{a+}/b s'],
    ['GET /{} s'],
    ['GET /{1a} s'],
    ['GET /a{b} s'],
    ['GET /a//b s'],
    ['GET /../b s'],
    ['GET /%2e%2e/b s'],
    ['GET /a?b s'],
    ['GET /a%zz s'],
    ['get /a s'],
    ['GET,POST /a s'],
  ])('%s is refused', (operation) => {
    expect(compiled([operation]).ok).toBe(false)
  })

  it('two that nothing tells apart are refused', () => {
    expect(compiled(['GET /a/{x} one', 'GET /a/{y} two']).ok).toBe(false)
    expect(compiled(['GET /a one', 'GET /%61 two']).ok).toBe(false)
    expect(compiled(['GET /{x+} one', 'GET /{y+} two']).ok).toBe(false)
    expect(compiled(['GET /a one', 'POST /a two']).ok).toBe(true)
  })

  it('a scope that the resource does not declare is refused', () => {
    const index = compileOperations({ operations: [{ method: 'GET', path: '/', scope: 'b' }], scopes: ['a'], encodedSeparators: 'refuse' })
    expect(index.ok).toBe(false)
  })
})
