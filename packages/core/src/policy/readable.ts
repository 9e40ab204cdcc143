/** Bounds of what a condition may look at while it runs: with them its cost is bounded whatever a caller sends. */
export const READABLE = { string: 4096, elements: 256, depth: 16, nodes: 4096, characters: 65_536 } as const

/**
 * Stands where a value is that a condition must not read: too large, or a number that JSON could not carry exactly
 * (beyond 2⁵³ neighbours are indistinguishable). The evaluator knows no such type, so reading it is a run-time error.
 */
export class Unreadable {
  readonly why: string
  constructor(why: string) {
    this.why = why
  }
}

/** The value as conditions see it: same shape, with `Unreadable` in the places that are out of bounds. Linear in the nodes kept. */
export function readable(value: unknown): unknown {
  return bounded(value, 0, { nodes: READABLE.nodes, characters: READABLE.characters })
}

/** What is left for the whole value. */
type Budget = { nodes: number; characters: number }

function bounded(value: unknown, depth: number, budget: Budget): unknown {
  budget.nodes -= 1
  if (budget.nodes < 0) return new Unreadable('too many values')
  switch (typeof value) {
    case 'string':
      budget.characters -= value.length
      return value.length > READABLE.string || budget.characters < 0 ? new Unreadable('long string') : value
    case 'number':
      return Math.abs(value) <= Number.MAX_SAFE_INTEGER ? value : new Unreadable('number beyond 2^53')
    case 'boolean':
      return value
    case 'object':
      if (value === null) return value
      if (depth >= READABLE.depth) return new Unreadable('deep nesting')
      return Array.isArray(value) ? boundedList(value, depth, budget) : boundedMap(value, depth, budget)
    default:
      return new Unreadable(typeof value)
  }
}

function boundedList(list: readonly unknown[], depth: number, budget: Budget): unknown {
  if (list.length > READABLE.elements) return new Unreadable('long list')
  return list.map((element) => bounded(element, depth + 1, budget))
}

function boundedMap(map: object, depth: number, budget: Budget): unknown {
  const keys = Object.keys(map)
  if (keys.length > READABLE.elements) return new Unreadable('large map')
  const out: Record<string, unknown> = Object.create(null)
  for (const key of keys) out[key] = bounded((map as Record<string, unknown>)[key], depth + 1, budget)
  return out
}

/**
 * Whether `readable` would keep everything as it is, so that the value itself can be read. Makes nothing. A member called
 * `constructor` counts as unreadable: the evaluator of the library stumbles over it.
 */
export function isReadable(value: unknown): boolean {
  left.nodes = READABLE.nodes
  left.characters = READABLE.characters
  return isWithin(value, 0)
}

/** The budget of the one walk that is under way. */
const left: Budget = { nodes: 0, characters: 0 }

function isWithin(value: unknown, depth: number): boolean {
  left.nodes -= 1
  if (left.nodes < 0) return false
  switch (typeof value) {
    case 'string':
      left.characters -= value.length
      return value.length <= READABLE.string && left.characters >= 0
    case 'number':
      return Math.abs(value) <= Number.MAX_SAFE_INTEGER
    case 'boolean':
      return true
    case 'object':
      if (value === null) return true
      if (depth >= READABLE.depth) return false
      return Array.isArray(value) ? isListWithin(value, depth) : isMapWithin(value, depth)
    default:
      return false
  }
}

function isListWithin(list: readonly unknown[], depth: number): boolean {
  if (list.length > READABLE.elements) return false
  for (let at = 0; at < list.length; at += 1) if (!isWithin(list[at], depth + 1)) return false
  return true
}

function isMapWithin(map: object, depth: number): boolean {
  let members = 0
  for (const key in map) {
    members += 1
    if (members > READABLE.elements || key === 'constructor') return false
    if (!isWithin((map as Record<string, unknown>)[key], depth + 1)) return false
  }
  return true
}

/** Whether a list is one of texts, and `readable` would keep all of them. */
export function isReadableTexts(list: readonly unknown[]): boolean {
  if (list.length > READABLE.elements) return false
  let characters = 0
  for (const text of list) {
    if (typeof text !== 'string' || text.length > READABLE.string) return false
    characters += text.length
  }
  return characters <= READABLE.characters
}

/** The same for `singleValues`: whether everything that stands once can be read as it is. */
export function isReadableOnce(values: Readonly<Record<string, string | readonly string[]>>): boolean {
  let members = 0
  let characters = 0
  for (const name in values) {
    members += 1
    if (members > READABLE.elements || name === 'constructor') return false
    const text = onlyText(values[name])
    if (text === undefined) continue
    if (text.length > READABLE.string) return false
    characters += text.length
  }
  return characters <= READABLE.characters
}

/** The text of a parameter or header that stands once. */
export function onlyText(value: string | readonly string[] | undefined): string | undefined {
  const single = typeof value === 'string' || value?.length !== 1 ? value : value[0]
  return typeof single === 'string' ? single : undefined
}

/** Query parameters and headers: what stands once can be read, what stands more often cannot. */
export function singleValues(values: Readonly<Record<string, string | readonly string[]>>): unknown {
  const names = Object.keys(values)
  if (names.length > READABLE.elements) return new Unreadable('many values')
  const budget: Budget = { nodes: READABLE.nodes, characters: READABLE.characters }
  const out: Record<string, unknown> = Object.create(null)
  for (const name of names) {
    const text = onlyText(values[name])
    out[name] = text === undefined ? new Unreadable('repeated') : bounded(text, 1, budget)
  }
  return out
}
