import type { ASTNode } from '@marcbachmann/cel-js'
import { READABLE } from './readable.ts'

/** Functions a condition may call, by number of arguments. No regular expressions, no time zones, no bindings. */
export const CONDITION_FUNCTIONS: Readonly<Record<string, number>> = {
  has: 1,
  size: 1,
  int: 1,
  double: 1,
  string: 1,
  bool: 1,
  timestamp: 1,
  duration: 1,
  dyn: 1,
  type: 1,
}

export const CONDITION_METHODS: Readonly<Record<string, number>> = {
  size: 0,
  contains: 1,
  startsWith: 1,
  endsWith: 1,
  getFullYear: 0,
  getMonth: 0,
  getDayOfMonth: 0,
  getDayOfWeek: 0,
  getDayOfYear: 0,
  getHours: 0,
  getMinutes: 0,
  getSeconds: 0,
  getMilliseconds: 0,
}

export const CONDITION_MACROS: Readonly<Record<string, number>> = { all: 2, exists: 2, exists_one: 2, filter: 2, map: 2 }

/** Steps of the evaluator (somewhat below 0.1 µs each) that a condition may need at worst, with every value as large as it may be. */
export const MAX_CONDITION_COST = 1_000_000

/**
 * Steps of what goes through a whole value. Inside a macro the elements of one list share the bounds of the value, so an
 * element costs its share on average; any other field can cost everything in each round.
 */
const WHOLE_VALUE = { compare: 1000, search: 500 } as const
const ELEMENT = { compare: 4, search: 16 } as const
const SEARCHING = new Set(['contains', 'size', 'int', 'double', 'bool'])
const COMPARING = new Set(['==', '!=', 'in', '+'])

/** Lists in lists: deeper has no use that a body could show. */
const MAX_MACRO_DEPTH = 2

export type ConditionReads = {
  readonly callReads: readonly string[]
  readonly variables: ReadonlySet<string>
  readonly fields: ReadonlySet<string>
}

type Problem = { readonly offset: number; readonly message: string }

type Walk = {
  readonly problems: Problem[]
  readonly variables: Set<string>
  readonly fields: Set<string>
  /** Names that macros bind around the node. */
  readonly bound: readonly string[]
}

/** What a parsed condition reads, and what in it is not offered or too dear. */
export function inspectCondition(ast: ASTNode): { readonly problems: readonly Problem[]; readonly reads: ConditionReads } {
  const walk: Walk = { problems: [], variables: new Set(), fields: new Set(), bound: [] }
  const cost = costOf(ast, walk)
  if (walk.problems.length === 0 && cost > MAX_CONDITION_COST) {
    walk.problems.push({ offset: 0, message: `could take ${cost} steps; at most ${MAX_CONDITION_COST} are allowed` })
  }
  const callReads = [...walk.fields].filter((field) => field.startsWith('operation.') || field.startsWith('request.')).sort()
  return { problems: walk.problems, reads: { callReads, variables: walk.variables, fields: walk.fields } }
}

function costOf(node: ASTNode, walk: Walk): number {
  switch (node.op) {
    case 'value':
      return literalCost(node, walk)
    case 'id':
      if (!walk.bound.includes(node.args)) note(walk, node.args, '*')
      return 1
    case '.':
    case '.?': {
      const [object, field] = node.args
      if (object.op === 'id' && !walk.bound.includes(object.args)) {
        note(walk, object.args, field)
        return 2
      }
      return 1 + costOf(object, walk)
    }
    case 'call': {
      const [name, args] = node.args
      offered(CONDITION_FUNCTIONS, name, args, node, walk)
      return 1 + searchCost(name, args[0], walk) + sum(args, walk)
    }
    case 'rcall':
      return methodCost(node, walk)
    case '!_':
    case '-_':
      return 1 + costOf(node.args, walk)
    case 'list':
      return 1 + sum(node.args, walk)
    case 'map':
      return 1 + node.args.reduce((total, [key, value]) => total + costOf(key, walk) + costOf(value, walk), 0)
    case '?:':
      return 1 + sum(node.args, walk)
    default:
      return 1 + compareCost(node.op, node.args, walk) + sum(node.args, walk)
  }
}

function searchCost(name: string, value: ASTNode | undefined, walk: Walk): number {
  if (!SEARCHING.has(name)) return ELEMENT.compare
  return value !== undefined && isElement(value, walk) ? ELEMENT.search : WHOLE_VALUE.search
}

/** Against a literal a comparison ends at the first difference in kind or length. */
function compareCost(op: string, [left, right]: readonly [ASTNode, ASTNode], walk: Walk): number {
  if (!COMPARING.has(op)) return 1
  const isCheap = (node: ASTNode) => node.op === 'value' || isElement(node, walk)
  if (op === 'in' && right.op === 'list') return right.args.length * ELEMENT.compare
  return isCheap(right) || (op !== 'in' && isCheap(left)) ? ELEMENT.compare : WHOLE_VALUE.compare
}

/** The variable of the innermost macro, or a part of it. */
function isElement(node: ASTNode, walk: Walk): boolean {
  if (node.op === 'id') return walk.bound.length > 0 && node.args === walk.bound.at(-1)
  return (node.op === '.' || node.op === '[]') && isElement(node.args[0], walk)
}

function sum(nodes: readonly ASTNode[], walk: Walk): number {
  return nodes.reduce((total, node) => total + costOf(node, walk), 0)
}

function note(walk: Walk, variable: string, field: string): void {
  walk.variables.add(variable)
  walk.fields.add(`${variable}.${field}`)
}

/** Beyond 2⁵³ a literal could not be told from its neighbours in what JSON carried. */
function literalCost(node: ASTNode & { op: 'value' }, walk: Walk): number {
  const value = node.args
  const magnitude = typeof value === 'bigint' ? Number(value < 0n ? -value : value) : typeof value === 'number' ? Math.abs(value) : 0
  if (magnitude > Number.MAX_SAFE_INTEGER)
    walk.problems.push({ offset: node.start, message: 'a number in a condition is at most 2^53 - 1' })
  return 1
}

function offered(table: Readonly<Record<string, number>>, name: string, args: readonly ASTNode[], node: ASTNode, walk: Walk): void {
  const arity = Object.hasOwn(table, name) ? table[name] : undefined
  if (arity === undefined) walk.problems.push({ offset: node.start, message: `${name}() is not offered in conditions` })
  else if (arity !== args.length) walk.problems.push({ offset: node.start, message: `${name}() takes ${arity} argument(s)` })
}

function methodCost(node: ASTNode & { op: 'rcall' }, walk: Walk): number {
  const [name, receiver, args] = node.args
  if (!Object.hasOwn(CONDITION_MACROS, name)) {
    offered(CONDITION_METHODS, name, args, node, walk)
    return 1 + searchCost(name, receiver, walk) + costOf(receiver, walk) + sum(args, walk)
  }
  offered(CONDITION_MACROS, name, args, node, walk)
  const [variable, body] = args
  if (variable?.op !== 'id' || body === undefined) {
    walk.problems.push({ offset: node.start, message: `${name}() takes a name and an expression` })
    return 1
  }
  if (!isBoundedList(receiver)) {
    walk.problems.push({ offset: receiver.start, message: `${name}() runs over a field, a list literal, filter() or map()` })
  }
  if (walk.bound.length >= MAX_MACRO_DEPTH) {
    walk.problems.push({ offset: node.start, message: `at most ${MAX_MACRO_DEPTH} macros inside each other` })
    return 1
  }
  return costOf(receiver, walk) + READABLE.elements * (2 + costOf(body, { ...walk, bound: [...walk.bound, variable.args] }))
}

/** Only lists whose length is bounded by the readable values: nothing that was put together by operators. */
function isBoundedList(node: ASTNode): boolean {
  switch (node.op) {
    case 'id':
    case 'list':
      return true
    case '.':
    case '.?':
      return isBoundedList(node.args[0])
    case '[]':
      return isBoundedList(node.args[0])
    case 'rcall':
      return (node.args[0] === 'filter' || node.args[0] === 'map') && isBoundedList(node.args[1])
    default:
      return false
  }
}
