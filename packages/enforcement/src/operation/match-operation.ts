import { type Operation, ok, type Resource, type Result, refuse, type Scope } from '@caracal/core'
import { compileMcpOperations } from './match-mcp-operation.ts'
import type { RawPath } from './parse-path.ts'
import { canonicalSegment, type PathTemplate, parsePathTemplate } from './path-template.ts'

/** The operation a request is. `operation` and `template` are null where the resource declares none and its single scope governs all. */
export type OperationMatch = {
  readonly operation: Operation | null
  readonly template: string | null
  /** Decoded once, as the upstream will read them; `{name+}` keeps its slashes. */
  readonly params: Readonly<Record<string, string>>
  readonly scope: Scope
}

export type OperationRefusal = 'operation_not_declared' | 'malformed_path'

/** A resource's operations, compiled once. Matching visits at most as many nodes as there are template segments. */
export type OperationIndex = {
  readonly match: (method: string, path: RawPath) => Result<OperationMatch, OperationRefusal>
}

type Leaf = { readonly operation: Operation; readonly template: PathTemplate; readonly rank: number }
type Node = { readonly literals: Map<string, Node>; one: Node | null; rest: Leaf | null; end: Leaf | null }

const METHOD = /^(?:\*|[A-Z][A-Z0-9-]{0,31})$/

/**
 * Compiles the operations of a resource: one matcher for STS, Gateway, MCP Adapter and simulator (P-064). What is wrong is named with
 * `validation_failed`: a bad template or method, a scope the resource does not declare, two operations that nothing tells apart.
 */
export function compileOperations(
  resource: Pick<Resource, 'scopes' | 'operations' | 'encodedSeparators'> & Partial<Pick<Resource, 'kind'>>,
): Result<OperationIndex, 'validation_failed'> {
  if (resource.operations.length === 0) return compileUnruled(resource.scopes)
  if (resource.kind === 'mcp') return compileMcpOperations(resource)

  const parsed: { operation: Operation; template: PathTemplate }[] = []
  for (const operation of resource.operations) {
    if (!METHOD.test(operation.method)) return refuse('validation_failed', `not a method: ${operation.method}`)
    if (!resource.scopes.includes(operation.scope))
      return refuse('validation_failed', `${operation.method} ${operation.path}: the resource has no scope ${operation.scope}`)
    const template = parsePathTemplate(operation.path)
    if (!template.ok) return template
    parsed.push({ operation, template: template.value })
  }

  const tries = new Map<string, Node>()
  for (const method of new Set(['HEAD', '*', ...parsed.map((p) => p.operation.method)])) {
    const root = newNode()
    for (const { operation, template } of parsed) {
      const rank = rankOf(operation.method, method)
      if (rank === null) continue
      const clash = insert(root, { operation, template, rank })
      if (clash !== null)
        return refuse('validation_failed', `nothing tells ${operation.method} ${operation.path} from ${clash.method} ${clash.path}`)
    }
    tries.set(method, root)
  }
  const other = tries.get('*') ?? newNode()
  const refuseSeparators = resource.encodedSeparators === 'refuse'

  return ok({
    match(method, path) {
      if (refuseSeparators && path.encodedSeparator) return refuse('malformed_path', 'an encoded separator is not accepted here')
      const leaf = find(tries.get(method === '*' ? '' : method) ?? other, path.segments)
      if (leaf === null) return refuse('operation_not_declared', `${method} on this path`)
      const params = readParams(leaf.template, path.segments)
      if (params === null) return refuse('malformed_path', 'an escape in the path is not UTF-8')
      return ok({ operation: leaf.operation, template: leaf.template.source, params, scope: leaf.operation.scope })
    },
  })
}

/** An un-ruled resource has exactly one scope and every operation needs it. */
function compileUnruled(scopes: readonly Scope[]): Result<OperationIndex, 'validation_failed'> {
  const [scope, ...others] = scopes
  if (scope === undefined || others.length > 0)
    return refuse('validation_failed', 'a resource without operations declares exactly one scope')
  const whole = ok<OperationMatch>({ operation: null, template: null, params: {}, scope })
  return ok({ match: () => whole })
}

/** How well an operation's method fits: the method itself, GET for HEAD, any. Null: not at all. */
function rankOf(declared: string, method: string): number | null {
  if (declared === method) return 0
  if (method === 'HEAD' && declared === 'GET') return 1
  return declared === '*' ? 2 : null
}

function newNode(): Node {
  return { literals: new Map(), one: null, rest: null, end: null }
}

/** Puts a leaf in its place; of two on the same place the better rank stays, and equal ranks are a clash. */
function insert(root: Node, leaf: Leaf): Operation | null {
  let node = root
  for (const segment of leaf.template.segments) {
    if (segment.kind === 'rest') {
      if (node.rest?.rank === leaf.rank) return node.rest.operation
      if (node.rest === null || leaf.rank < node.rest.rank) node.rest = leaf
      return null
    }
    if (segment.kind === 'one') {
      node.one ??= newNode()
      node = node.one
      continue
    }
    let next = node.literals.get(segment.text)
    if (next === undefined) {
      next = newNode()
      node.literals.set(segment.text, next)
    }
    node = next
  }
  if (node.end?.rank === leaf.rank) return node.end.operation
  if (node.end === null || leaf.rank < node.end.rank) node.end = leaf
  return null
}

/**
 * The most specific template from left to right: text before `{name}` before `{name+}`. A trailing slash is a spelling of its own,
 * except below `{name+}`, where the path without it must mean the same operation: it never leads around a narrower one.
 */
function find(root: Node, segments: readonly string[]): Leaf | null {
  const exact = descend(root, segments, 0)
  if (exact !== null || segments.length < 2 || segments.at(-1) !== '') return exact
  const without = descend(root, segments.slice(0, -1), 0)
  return without?.template.segments.at(-1)?.kind === 'rest' ? without : null
}

function descend(node: Node, segments: readonly string[], at: number): Leaf | null {
  const raw = segments[at]
  if (raw === undefined) return node.end
  const text = canonicalSegment(raw)
  const literal = node.literals.get(text)
  if (literal !== undefined) {
    const found = descend(literal, segments, at + 1)
    if (found !== null) return found
  } else if (meansLiteral(node, text)) return null
  if (raw === '') return null
  if (node.one !== null) {
    const found = descend(node.one, segments, at + 1)
    if (found !== null) return found
  }
  return node.rest !== null && segments.indexOf('', at) === -1 ? node.rest : null
}

/**
 * Whether a lenient upstream could read this segment as one of the literals although it is spelled otherwise (`%40root`, `admin;x`).
 * Such a spelling must not slip past the literal into `{name}`.
 */
function meansLiteral(node: Node, text: string): boolean {
  if (node.literals.size === 0 || !/[%;]/.test(text)) return false
  const decoded = decode(text) ?? text
  return node.literals.has(decoded) || node.literals.has(decoded.split(';', 1)[0] ?? '')
}

function readParams(template: PathTemplate, segments: readonly string[]): Record<string, string> | null {
  const params: Record<string, string> = Object.create(null)
  for (const [at, segment] of template.segments.entries()) {
    if (segment.kind === 'literal') continue
    const value = decode(segment.kind === 'one' ? (segments[at] ?? '') : segments.slice(at).join('/'))
    if (value === null) return null
    params[segment.name] = value
  }
  return params
}

function decode(text: string): string | null {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}
