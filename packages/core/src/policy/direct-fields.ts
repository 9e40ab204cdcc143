import type { Activation } from './activation.ts'
import type { CONDITION_VARIABLES } from './condition-environment.ts'
import { isReadableTexts, onlyText, READABLE } from './readable.ts'

/** Reads a value. `undefined`: not known here, the evaluator of the library must be asked. Integers are numbers here, instants milliseconds. */
export type Read = (at: Activation) => unknown

type Variables = typeof CONDITION_VARIABLES
type FieldPath = {
  [V in keyof Variables]: Variables[V] extends string ? V : `${V}.${keyof Variables[V] & string}`
}[keyof Variables]

/** The kind of a value as far as it is known before it is there. */
export type Kind =
  | 'dyn'
  | 'null'
  | 'bool'
  | 'int'
  | 'double'
  | 'string'
  | 'list<string>'
  | 'map<string, string>'
  | 'map<string, dyn>'
  | 'google.protobuf.Timestamp'

/** How far from 1970 an instant may be, in milliseconds. */
const LAST_INSTANT = 8.64e15

const FIELDS: Readonly<Record<FieldPath, Read>> = {
  'zone.id': ({ input }) => input.zone.id,
  'zone.name': ({ input }) => input.zone.name,
  'zone.labels': ({ input }) => texts(input.zone.labels),
  'application.id': ({ input }) => input.application.id,
  'application.name': ({ input }) => input.application.name,
  'application.labels': ({ input }) => texts(input.application.labels),
  'subject.id': ({ input }) => input.subject?.id ?? '',
  'subject.issuer': ({ input }) => input.subject?.issuer ?? '',
  'subject.claims': (at) => at.claims,
  'session.id': ({ input }) => input.session?.id ?? '',
  'session.kind': ({ input }) => input.session?.kind ?? 'none',
  'session.labels': ({ input }) => texts(input.session?.labels ?? NO_LABELS),
  'session.depth': ({ input }) => integer(input.session?.depth ?? 0),
  'delegation.depth': ({ input }) => integer(input.delegation?.depth ?? 0),
  'resource.id': ({ input }) => input.resource.id,
  'resource.name': ({ input }) => input.resource.name,
  'resource.identifier': ({ input }) => input.resource.identifier,
  'resource.kind': ({ input }) => input.resource.kind,
  scope: ({ input }) => input.scope,
  'mandate.ttl': ({ input }) => integer(Math.floor(input.mandate.ttl)),
  'mandate.once': ({ input }) => input.mandate.once,
  'mandate.senderConstrained': ({ input }) => input.mandate.senderConstrained,
  'operation.method': ({ operation }) => operation?.method,
  'operation.path': ({ operation }) => short(operation?.path),
  'operation.template': ({ operation }) => operation?.template,
  'operation.params': (at) => at.params,
  'operation.query': (at) => at.query,
  'operation.headers': (at) => at.headers,
  'operation.body': (at) => at.body,
  'operation.tool': ({ operation }) => short(operation?.tool),
  'operation.arguments': (at) => at.arguments,
  'request.time': ({ input }) => (input.phase === 'call' ? instant(input.request.time) : undefined),
  'request.peer': ({ input }) => (input.phase === 'call' ? input.request.peer : undefined),
}

const NO_LABELS: readonly string[] = Object.freeze([])

/** Reads a variable, or a field of one, by its path; undefined when there is no such thing. */
export function fieldReader(path: string): Read | undefined {
  return Object.hasOwn(FIELDS, path) ? FIELDS[path as FieldPath] : undefined
}

/** A member of a map; what is not there or no map is the library's to complain of. */
export function memberReader(read: Read, name: string): Read {
  return (at) => {
    const map = read(at)
    return isMap(map) && Object.hasOwn(map, name) ? map[name] : undefined
  }
}

/** A member of a map in which every value is a text, or a list with the one text. */
export function textReader(read: Read, name: string): Read {
  return (at) => {
    const map = read(at)
    return isMap(map) && Object.hasOwn(map, name) ? onlyText(map[name] as string | readonly string[]) : undefined
  }
}

/** An element of a list. */
export function elementReader(read: Read, index: number): Read {
  return (at) => {
    const list = read(at)
    return Array.isArray(list) ? list[index] : undefined
  }
}

export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function texts(list: readonly string[]): readonly string[] | undefined {
  return isReadableTexts(list) ? list : undefined
}

function short(text: string | undefined): string | undefined {
  return text !== undefined && text.length <= READABLE.string ? text : undefined
}

function integer(value: number): number | undefined {
  return Number.isSafeInteger(value) ? value : undefined
}

function instant(value: number): number | undefined {
  return Number.isInteger(value) && Math.abs(value) <= LAST_INSTANT ? value : undefined
}
