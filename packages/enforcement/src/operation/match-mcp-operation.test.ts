import type { Operation } from '@caracal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mcpPath } from '../call/could-call.ts'
import { mcpOperationFault } from './match-mcp-operation.ts'
import { compileOperations } from './match-operation.ts'

const server = [
  'tools/call echo echo',
  'tools/call files_* files',
  'tools/call files_delete delete',
  '* files_* any',
  'prompts/get * prompts',
  'resources/read file:///docs/* docs',
  'resources/read file:///docs/secret/* secret',
  'resources/read demo://one one',
]

/** The scope that a message needs, or why it has none. */
function ask(operations: readonly string[], method: string, name: string, encodedSeparators: 'refuse' | 'literal' = 'refuse'): string {
  const parsed: Operation[] = operations.map((line) => {
    const [own = '', path = '', scope = ''] = line.split(' ')
    return { method: own, path, scope }
  })
  const index = compileOperations({ kind: 'mcp', operations: parsed, scopes: [...new Set(parsed.map((o) => o.scope))], encodedSeparators })
  if (!index.ok) return `bad operations: ${index.detail}`
  const match = index.value.match(method, mcpPath(name))
  return match.ok ? match.value.scope : match.reason
}

describe('which operation an MCP message is [P-088]', () => {
  it.each([
    ['tools/call', 'echo', 'echo'],
    ['tools/call', 'Echo', 'operation_not_declared'],
    ['tools/call', 'echo2', 'operation_not_declared'],
    ['tools/call', 'files_list', 'files'],
    ['tools/call', 'files_delete', 'delete'],
    ['tools/call', 'files_delete_all', 'files'],
    ['prompts/get', 'files_delete', 'any'],
    ['prompts/get', 'anything', 'prompts'],
    ['completion/complete', 'echo', 'operation_not_declared'],
    ['tools/call', 'nothing', 'operation_not_declared'],
    ['resources/read', 'demo://one', 'one'],
    ['resources/read', 'demo://one/two', 'operation_not_declared'],
    ['resources/read', 'file:///docs/a.md', 'docs'],
    ['resources/read', 'file:///docs/secret/a.md', 'secret'],
    ['resources/subscribe', 'file:///docs/a.md', 'operation_not_declared'],
    ['tools/call', '', 'malformed_path'],
    ['tools/call', 'echo\u0000', 'malformed_path'],
  ])('%s of %j needs %s', (method, name, expected) => {
    expect(ask(server, method, name)).toBe(expected)
  })

  it.each([
    'file:///docs/../etc/passwd',
    'file:///docs/%2e%2e/etc/passwd',
    'file:///docs/%252e%252e/etc/passwd',
    'file:///docs/..%2fetc/passwd',
    'file:///docs/..;x/etc',
    'file:///docs/%73ecret/a.md',
    'file:///docs%2Fsecret/a.md',
    'file:///docs/%5c..%5csecret',
    'file:///docs//secret/a.md',
    'file:////docs/secret/a.md',
    'file:///docs\\secret\\a.md',
    'FILE:///docs/a.md',
    'file://localhost/docs/a.md',
    'file:///docs/a b.md',
    'file:///docs/ä.md',
    'file:///docs/%zz',
    '/docs/a.md',
    'docs',
    '',
  ])('a resource has one spelling only: %j', (uri) => {
    expect(ask(server, 'resources/read', uri)).toBe('malformed_path')
  })

  it('an encoded separator may be a letter of the name where the resource says so', () => {
    expect(ask(server, 'resources/read', 'file:///docs/a%2Fb', 'literal')).toBe('docs')
  })

  it('the order in which operations are declared says nothing', () => {
    const names = ['echo', 'files_delete', 'files_x', 'zzz']
    fc.assert(
      fc.property(fc.shuffledSubarray(server, { minLength: server.length }), fc.constantFrom(...names), (order, name) => {
        expect(ask(order, 'tools/call', name)).toBe(ask(server, 'tools/call', name))
      }),
    )
  })

  it('no name is governed by an operation that is not its own or its beginning', () => {
    fc.assert(
      fc.property(fc.string(), (name) => {
        if (!name.startsWith('files_') && name !== 'echo')
          expect(['operation_not_declared', 'malformed_path']).toContain(ask(server, 'tools/call', name))
      }),
    )
  })

  it('without operations everything needs the one scope', () => {
    const index = compileOperations({ kind: 'mcp', operations: [], scopes: ['all'], encodedSeparators: 'refuse' })
    expect(index.ok && index.value.match('tools/call', mcpPath('x'))).toMatchObject({ ok: true, value: { scope: 'all' } })
  })

  it.each([
    ['GET', 'echo'],
    ['tools/Call it', 'echo'],
    ['tools/call', 'a*b'],
    ['tools/call', ''],
    ['resources/read', 'docs'],
    ['resources/read', 'file:///docs/../x'],
  ])('%s %j cannot be meant', (method, path) => {
    expect(mcpOperationFault({ method, path })).not.toBeNull()
  })

  it('two operations that nothing tells apart, or a scope that the resource lacks, are refused', () => {
    expect(ask(['tools/call echo a', 'tools/call echo b'], 'tools/call', 'echo')).toMatch(/^bad operations/)
    const index = compileOperations({
      kind: 'mcp',
      operations: [{ method: 'tools/call', path: 'x', scope: 'b' }],
      scopes: ['a'],
      encodedSeparators: 'refuse',
    })
    expect(index.ok).toBe(false)
  })
})
