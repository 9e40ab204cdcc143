import { isPattern, matchesPattern, type Operation, ok, type Resource, type Result, refuse } from '@caracal/core'
import type { OperationIndex } from './match-operation.ts'
import { readMcpName, readMcpUri } from './mcp-name.ts'

/** JSON-RPC methods of MCP: `tools/call`, `resources/read`, `completion/complete`; `*` is any. */
const METHOD = /^(?:\*|[a-z][A-Za-z]*(?:\/[A-Za-z_]+){0,3})$/

/** What is wrong with an operation of an MCP server: a method of the protocol and a name, or its beginning and `*`. Null: nothing. */
export function mcpOperationFault({ method, path }: Pick<Operation, 'method' | 'path'>): string | null {
  if (!METHOD.test(method)) return `not a method of MCP: ${method}`
  if (!isPattern(path)) return `not a name, nor the beginning of one and a star at its end: ${path}`
  if (path.endsWith('*')) return null
  const read = isUriMethod(method) ? readMcpUri(path, 'literal') : readMcpName(path)
  return read.ok ? null : `${read.detail}: ${path}`
}

/**
 * Compiles the operations of an MCP server: method and name of the tool, resource or prompt. The longest name wins, a whole one before
 * a beginning; of two on the same name the method itself before `*`. Default is deny.
 */
export function compileMcpOperations(
  resource: Pick<Resource, 'scopes' | 'operations' | 'encodedSeparators'>,
): Result<OperationIndex, 'validation_failed'> {
  const seen = new Set<string>()
  for (const operation of resource.operations) {
    const fault = mcpOperationFault(operation)
    if (fault !== null) return refuse('validation_failed', fault)
    const { method, path, scope } = operation
    if (!resource.scopes.includes(scope)) return refuse('validation_failed', `${method} ${path}: the resource has no scope ${scope}`)
    if (seen.has(`${method} ${path}`)) return refuse('validation_failed', `${method} ${path} stands twice`)
    seen.add(`${method} ${path}`)
  }
  const exact = new Map<string, Operation>()
  const prefixes: Operation[] = []
  for (const operation of resource.operations) {
    if (operation.path.endsWith('*')) prefixes.push(operation)
    else exact.set(`${operation.method} ${operation.path}`, operation)
  }
  prefixes.sort((a, b) => b.path.length - a.path.length || rank(a) - rank(b))
  return ok({
    match(method, { raw: name }) {
      const read = isUriMethod(method) ? readMcpUri(name, resource.encodedSeparators) : readMcpName(name)
      if (!read.ok) return read
      const operation =
        exact.get(`${method} ${name}`) ??
        exact.get(`* ${name}`) ??
        prefixes.find((one) => (one.method === '*' || one.method === method) && matchesPattern(one.path, name))
      if (operation === undefined) return refuse('operation_not_declared', `${method} of this name`)
      return ok({ operation, template: operation.path, params: {}, scope: operation.scope })
    },
  })
}

function isUriMethod(method: string): boolean {
  return method.startsWith('resources/')
}

function rank({ method }: Operation): number {
  return method === '*' ? 1 : 0
}
