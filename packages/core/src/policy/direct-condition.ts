import type { ASTNode } from '@marcbachmann/cel-js'
import { CONDITION_VARIABLES } from './condition-environment.ts'
import { elementReader, fieldReader, type Kind, memberReader, type Read, textReader } from './direct-fields.ts'
import {
  and,
  type Constant,
  choice,
  equality,
  equalityTo,
  hasMember,
  hasText,
  instantPart,
  isThere,
  membership,
  not,
  oneOf,
  or,
  ordering,
  orderingTo,
  quantifier,
  size,
  textTest,
} from './direct-operators.ts'

/** A part of a condition as a closure, with what is known of its value beforehand. */
type Part = { readonly kind: Kind; readonly read: Read; readonly constant?: Constant }

/** A name that a macro binds. */
type Bound = { readonly name: string; readonly kind: Kind; readonly place: 'outer' | 'inner' }

/** Parts that conditions of one policy set share, by their tree and the names bound around it: shared, they stay in the processor's cache. */
export type KnownParts = Map<string, Part>

type Scope = { readonly known: KnownParts; readonly bound: readonly Bound[] }

/** What is not done here: the library is asked. */
const ASK: Part = { kind: 'dyn', read: () => undefined }

/** What `===` compares as CEL does, or is found out about at run time. */
const COMPARED: ReadonlySet<Kind> = new Set<Kind>(['bool', 'int', 'double', 'string', 'null', 'dyn'])
const NUMBERS: ReadonlySet<Kind> = new Set<Kind>(['int', 'double'])

/**
 * A condition that was checked, as closures over plain values instead of a walk over its tree. It answers `true` or `false` only
 * where the library would answer the same; for everything else, every error included, it answers `undefined`.
 */
export function directCondition(ast: ASTNode, known: KnownParts): Read {
  return compile(ast, { known, bound: [] }).read
}

function compile(node: ASTNode, scope: Scope): Part {
  const text = `${spell(node)} ${scope.bound.map(({ name, kind }) => `${name}: ${kind}`).join()}`
  const part = scope.known.get(text) ?? compileAnew(node, scope)
  scope.known.set(text, part)
  return part
}

/** The same text for the same tree: kinds of literals apart, spaces and brackets left out. */
function spell(part: unknown): string {
  if (Array.isArray(part)) return `[${part.map(spell).join()}]`
  if (typeof part === 'object' && part !== null && 'op' in part && 'args' in part) return `${part.op}${spell(part.args)}`
  return `${typeof part} ${JSON.stringify(String(part))}`
}

function compileAnew(node: ASTNode, scope: Scope): Part {
  switch (node.op) {
    case 'value':
      return literal(node.args)
    case 'id':
      return variable(node.args, scope)
    case '.':
      return access(node.args[0], node.args[1], scope)
    case '[]':
      return index(node.args[0], node.args[1], scope)
    case 'call':
      return call(node.args[0], node.args[1], scope)
    case 'rcall':
      return method(node.args[0], node.args[1], node.args[2], scope)
    case '!_':
      return { kind: 'bool', read: not(compile(node.args, scope).read) }
    case '-_':
      return negative(node.args)
    case '&&':
    case '||': {
      const [left, right] = [compile(node.args[0], scope).read, compile(node.args[1], scope).read]
      return { kind: 'bool', read: node.op === '&&' ? and(left, right) : or(left, right) }
    }
    case '?:':
      return conditional(compile(node.args[0], scope), compile(node.args[1], scope), compile(node.args[2], scope))
    case '==':
    case '!=':
      return equals(node.op === '==', compile(node.args[0], scope), compile(node.args[1], scope))
    case '<':
    case '<=':
    case '>':
    case '>=':
      return order(node.op, compile(node.args[0], scope), compile(node.args[1], scope))
    case 'in':
      return within(compile(node.args[0], scope), node.args[1], scope)
    default:
      return ASK
  }
}

function literal(value: unknown): Part {
  switch (typeof value) {
    case 'string':
      return constant('string', value)
    case 'bigint':
      return constant('int', Number(value))
    case 'number':
      return constant('double', value)
    case 'boolean':
      return constant('bool', value)
    default:
      return value === null ? constant('null', null) : ASK
  }
}

function constant(kind: Kind, value: Constant): Part {
  return { kind, read: () => value, constant: value }
}

function negative(node: ASTNode): Part {
  const { kind, constant: value } = node.op === 'value' ? literal(node.args) : ASK
  return typeof value === 'number' ? constant(kind, -value) : ASK
}

function variable(name: string, scope: Scope): Part {
  const element = scope.bound.findLast((one) => one.name === name)
  if (element === undefined) return field(name)
  return { kind: element.kind, read: element.place === 'outer' ? OUTER : INNER }
}

const OUTER: Read = ({ outer }) => outer
const INNER: Read = ({ inner }) => inner

/** A variable that is no group of fields, or a field of one. */
function field(path: string): Part {
  const read = fieldReader(path)
  if (read === undefined) return ASK
  const [name, member = ''] = path.split('.')
  const declared: string | Readonly<Record<string, string>> = CONDITION_VARIABLES[name as keyof typeof CONDITION_VARIABLES]
  return { kind: (typeof declared === 'string' ? declared : declared[member]) as Kind, read }
}

function access(object: ASTNode, name: string, scope: Scope): Part {
  if (object.op === 'id' && !scope.bound.some((one) => one.name === object.args)) return field(`${object.args}.${name}`)
  return member(compile(object, scope), name)
}

function member({ kind, read }: Part, name: string): Part {
  switch (kind) {
    case 'dyn':
    case 'map<string, dyn>':
      return { kind: 'dyn', read: memberReader(read, name) }
    case 'map<string, string>':
      return { kind: 'string', read: textReader(read, name) }
    default:
      return ASK
  }
}

function index(object: ASTNode, at: ASTNode, scope: Scope): Part {
  if (at.op !== 'value') return ASK
  const part = compile(object, scope)
  if (typeof at.args === 'string') return member(part, at.args)
  return typeof at.args === 'bigint' && part.kind === 'dyn' ? { kind: 'dyn', read: elementReader(part.read, Number(at.args)) } : ASK
}

function call(name: string, args: readonly ASTNode[], scope: Scope): Part {
  const [argument] = args
  if (argument === undefined) return ASK
  switch (name) {
    case 'has':
      return has(argument, scope)
    case 'size':
      return sizeOf(compile(argument, scope))
    case 'timestamp':
      return instant(compile(argument, scope).constant)
    default:
      return ASK
  }
}

function has(node: ASTNode, scope: Scope): Part {
  if (node.op !== '.') return ASK
  const [object, name] = node.args
  if (object.op === 'id' && !scope.bound.some((one) => one.name === object.args)) {
    return { kind: 'bool', read: isThere(access(object, name, scope).read) }
  }
  const { kind, read } = compile(object, scope)
  if (kind === 'map<string, string>') return { kind: 'bool', read: hasText(read, name) }
  return kind === 'dyn' || kind === 'map<string, dyn>' ? { kind: 'bool', read: hasMember(read, name) } : ASK
}

function sizeOf({ kind, read }: Part): Part {
  return kind === 'dyn' || kind === 'string' || kind.startsWith('list') || kind.startsWith('map') ? { kind: 'int', read: size(read) } : ASK
}

/** The form that the library takes, the year 1 to 9999. */
function instant(text: Constant | undefined): Part {
  if (typeof text !== 'string' || text.length < 20 || text.length > 30) return ASK
  const millis = Date.parse(text)
  return millis >= -62_135_596_800_000 && millis <= 253_402_300_799_999 ? constant('google.protobuf.Timestamp', millis) : ASK
}

function method(name: string, receiver: ASTNode, args: readonly ASTNode[], scope: Scope): Part {
  const part = compile(receiver, scope)
  const [first, second] = args
  if (first === undefined) {
    if (name === 'size') return sizeOf(part)
    const read = part.kind === 'google.protobuf.Timestamp' ? instantPart(name, part.read) : undefined
    return read === undefined ? ASK : { kind: 'int', read }
  }
  if (second !== undefined) return first.op === 'id' ? macro(name, part, first.args, second, scope) : ASK
  const argument = compile(first, scope)
  if (!isText(part) || !isText(argument)) return ASK
  const read = textTest(name, part.read, argument.read)
  return read === undefined ? ASK : { kind: 'bool', read }
}

function isText({ kind }: Part): boolean {
  return kind === 'string' || kind === 'dyn'
}

function macro(name: string, list: Part, element: string, body: ASTNode, scope: Scope): Part {
  if (name !== 'exists' && name !== 'all') return ASK
  if (list.kind !== 'dyn' && list.kind !== 'list<string>') return ASK
  const place = scope.bound.length === 0 ? 'outer' : 'inner'
  const kind = list.kind === 'dyn' ? 'dyn' : 'string'
  const test = compile(body, { ...scope, bound: [...scope.bound, { name: element, kind, place }] }).read
  return { kind: 'bool', read: quantifier(name === 'exists', place, list.read, test) }
}

/** Instants are numbers here: they meet only each other. */
function conditional(when: Part, then: Part, otherwise: Part): Part {
  const kind = then.kind === otherwise.kind ? then.kind : 'dyn'
  if (kind !== then.kind && !(COMPARED.has(then.kind) && COMPARED.has(otherwise.kind))) return ASK
  return { kind, read: choice(when.read, then.read, otherwise.read) }
}

function equals(equal: boolean, left: Part, right: Part): Part {
  const alike = left.kind === right.kind || left.kind === 'dyn' || right.kind === 'dyn'
  const instants = left.kind === 'google.protobuf.Timestamp' && right.kind === left.kind
  if (!instants && !(alike && COMPARED.has(left.kind) && COMPARED.has(right.kind))) return ASK
  if (right.constant !== undefined) return { kind: 'bool', read: equalityTo(equal, left.read, right.constant) }
  if (left.constant !== undefined) return { kind: 'bool', read: equalityTo(equal, right.read, left.constant) }
  return { kind: 'bool', read: equality(equal, left.read, right.read) }
}

function order(op: string, left: Part, right: Part): Part {
  const numbers = NUMBERS.has(left.kind) && NUMBERS.has(right.kind)
  const alike = left.kind === right.kind || left.kind === 'dyn' || right.kind === 'dyn' || numbers
  const instants = left.kind === 'google.protobuf.Timestamp' && right.kind === left.kind
  if (!instants && !(alike && COMPARED.has(left.kind) && COMPARED.has(right.kind))) return ASK
  const read = right.constant !== undefined ? orderingTo(op, left.read, right.constant) : ordering(op, left.read, right.read)
  return read === undefined ? ASK : { kind: 'bool', read }
}

function within(left: Part, all: ASTNode, scope: Scope): Part {
  if (!COMPARED.has(left.kind)) return ASK
  if (all.op === 'list') return withinConstants(left, all.args)
  const right = compile(all, scope)
  switch (right.kind) {
    case 'dyn':
      return { kind: 'bool', read: membership(left.read, right.read) }
    case 'list<string>':
    case 'map<string, string>':
    case 'map<string, dyn>':
      return left.kind === 'string' || left.kind === 'dyn' ? { kind: 'bool', read: membership(left.read, right.read) } : ASK
    default:
      return ASK
  }
}

function withinConstants(left: Part, elements: readonly ASTNode[]): Part {
  const parts = elements.map((element) => (element.op === 'value' ? literal(element.args) : ASK))
  const constants = parts.flatMap((part) => (part.constant === undefined ? [] : [part.constant]))
  const kind = parts[0]?.kind
  if (kind === undefined || constants.length < parts.length || parts.some((part) => part.kind !== kind)) return ASK
  return left.kind === 'dyn' || left.kind === kind ? { kind: 'bool', read: oneOf(left.read, constants) } : ASK
}
