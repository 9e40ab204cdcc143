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

/** Query parameters and headers: what stands once can be read, what stands more often cannot. */
export function singleValues(values: Readonly<Record<string, string | readonly string[]>>): unknown {
  const names = Object.keys(values)
  if (names.length > READABLE.elements) return new Unreadable('many values')
  const budget: Budget = { nodes: READABLE.nodes, characters: READABLE.characters }
  const out: Record<string, unknown> = Object.create(null)
  for (const name of names) {
    const value = values[name]
    const single = typeof value === 'string' || value?.length !== 1 ? value : value[0]
    out[name] = typeof single === 'string' ? bounded(single, 1, budget) : new Unreadable('repeated')
  }
  return out
}
