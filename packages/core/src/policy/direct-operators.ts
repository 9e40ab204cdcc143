import { isMap, type Read } from './direct-fields.ts'
import { onlyText } from './readable.ts'

/** A value that is known before the request. */
export type Constant = string | number | boolean | null

type Order = (a: string | number | boolean, b: string | number | boolean) => boolean

const ORDERS: Readonly<Record<string, Order>> = {
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
}

/** `<`, `<=`, `>` and `>=` between two numbers, two texts or two truth values; undefined for another operator. */
export function ordering(op: string, left: Read, right: Read): Read | undefined {
  const order = ORDERS[op]
  if (order === undefined) return undefined
  return (at) => ordered(order, left(at), right(at))
}

/** The same against a constant, which most conditions are. */
export function orderingTo(op: string, left: Read, right: Constant): Read | undefined {
  const order = ORDERS[op]
  if (order === undefined) return undefined
  return (at) => ordered(order, left(at), right)
}

function ordered(order: Order, a: unknown, b: unknown): boolean | undefined {
  if (typeof a === 'number') return typeof b === 'number' ? order(a, b) : undefined
  if (typeof a === 'string') return typeof b === 'string' ? order(a, b) : undefined
  return typeof a === 'boolean' && typeof b === 'boolean' ? order(a, b) : undefined
}

/** `==`, or `!=` when `equal` is false. Lists and maps are the library's to compare. */
export function equality(equal: boolean, left: Read, right: Read): Read {
  return (at) => {
    const [a, b] = [left(at), right(at)]
    return isPlain(a) && isPlain(b) ? (a === b) === equal : undefined
  }
}

export function equalityTo(equal: boolean, left: Read, right: Constant): Read {
  return (at) => {
    const a = left(at)
    return isPlain(a) ? (a === right) === equal : undefined
  }
}

/** `in` a list of constants. */
export function oneOf(left: Read, constants: readonly Constant[]): Read {
  return (at) => {
    const a = left(at)
    return isPlain(a) ? constants.includes(a) : undefined
  }
}

/** `in` a list, or as a name in a map. */
export function membership(left: Read, right: Read): Read {
  return (at) => {
    const [a, all] = [left(at), right(at)]
    if (!isPlain(a)) return undefined
    if (Array.isArray(all)) return all.includes(a)
    return typeof a === 'string' && isMap(all) ? Object.hasOwn(all, a) : undefined
  }
}

/** A name inside a map, the last part of `has()`: false when it is not there or stands in something that has no names. */
export function hasMember(read: Read, name: string): Read {
  return (at) => {
    const value = read(at)
    if (value === undefined) return undefined
    return isMap(value) && Object.hasOwn(value, name)
  }
}

/** The same in a map of texts. One that stands more than once cannot be asked for. */
export function hasText(read: Read, name: string): Read {
  return (at) => {
    const map = read(at)
    if (!isMap(map)) return undefined
    if (!Object.hasOwn(map, name)) return false
    return onlyText(map[name] as string | readonly string[]) === undefined ? undefined : true
  }
}

/** What is always there, as long as it can be read. */
export function isThere(read: Read): Read {
  return (at) => (read(at) === undefined ? undefined : true)
}

export function and(left: Read, right: Read): Read {
  return (at) => {
    const a = left(at)
    if (a === false) return false
    const b = a === true ? right(at) : undefined
    return typeof b === 'boolean' ? b : undefined
  }
}

export function or(left: Read, right: Read): Read {
  return (at) => {
    const a = left(at)
    if (a === true) return true
    const b = a === false ? right(at) : undefined
    return typeof b === 'boolean' ? b : undefined
  }
}

export function not(read: Read): Read {
  return (at) => {
    const a = read(at)
    return typeof a === 'boolean' ? !a : undefined
  }
}

export function choice(when: Read, then: Read, otherwise: Read): Read {
  return (at) => {
    const chosen = when(at)
    return chosen === true ? then(at) : chosen === false ? otherwise(at) : undefined
  }
}

const TEXT_TESTS: Readonly<Record<string, (text: string, part: string) => boolean>> = {
  contains: (text, part) => text.includes(part),
  startsWith: (text, part) => text.startsWith(part),
  endsWith: (text, part) => text.endsWith(part),
}

/** `contains`, `startsWith`, `endsWith`; undefined for another name. */
export function textTest(name: string, text: Read, part: Read): Read | undefined {
  const test = Object.hasOwn(TEXT_TESTS, name) ? TEXT_TESTS[name] : undefined
  if (test === undefined) return undefined
  return (at) => {
    const [a, b] = [text(at), part(at)]
    return typeof a === 'string' && typeof b === 'string' ? test(a, b) : undefined
  }
}

const INSTANT_PARTS: Readonly<Record<string, (instant: Date) => number>> = {
  getFullYear: (instant) => instant.getUTCFullYear(),
  getMonth: (instant) => instant.getUTCMonth(),
  getDayOfWeek: (instant) => instant.getUTCDay(),
  getHours: (instant) => instant.getUTCHours(),
  getMinutes: (instant) => instant.getUTCMinutes(),
  getSeconds: (instant) => instant.getUTCSeconds(),
}

/** `getHours` and its like, in UTC; undefined for another name. */
export function instantPart(name: string, read: Read): Read | undefined {
  const part = Object.hasOwn(INSTANT_PARTS, name) ? INSTANT_PARTS[name] : undefined
  if (part === undefined) return undefined
  return (at) => {
    const instant = read(at)
    return typeof instant === 'number' ? part(new Date(instant)) : undefined
  }
}

/** Characters of a text (code points), elements of a list, names of a map. */
export function size(read: Read): Read {
  return (at) => {
    const value = read(at)
    if (typeof value === 'string') return codePoints(value)
    if (Array.isArray(value)) return value.length
    return isMap(value) ? Object.keys(value).length : undefined
  }
}

function codePoints(text: string): number {
  let count = 0
  for (const _point of text) count += 1
  return count
}

/** `exists` (`found` true) and `all` (`found` false): the first element that settles it ends the walk. */
export function quantifier(found: boolean, place: 'outer' | 'inner', list: Read, test: Read): Read {
  return (at) => {
    const elements = list(at)
    if (!Array.isArray(elements)) return undefined
    for (const element of elements) {
      at[place] = element
      const result = test(at)
      if (result === found) return found
      if (result !== !found) return undefined
    }
    return !found
  }
}

/** Neither a list nor a map: what `===` compares as CEL does. */
function isPlain(value: unknown): value is Constant {
  return value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}
