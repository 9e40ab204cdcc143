/** Bounds of what a condition may look at while it runs: with them its cost is bounded whatever a caller sends. */
export const READABLE = { string: 4096, elements: 256, depth: 16, nodes: 4096 } as const

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
  return bounded(value, 0, { left: READABLE.nodes })
}

function bounded(value: unknown, depth: number, budget: { left: number }): unknown {
  budget.left -= 1
  if (budget.left < 0) return new Unreadable('too many values')
  switch (typeof value) {
    case 'string':
      return value.length > READABLE.string ? new Unreadable('long string') : value
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

function boundedList(list: readonly unknown[], depth: number, budget: { left: number }): unknown {
  if (list.length > READABLE.elements) return new Unreadable('long list')
  return list.map((element) => bounded(element, depth + 1, budget))
}

function boundedMap(map: object, depth: number, budget: { left: number }): unknown {
  const keys = Object.keys(map)
  if (keys.length > READABLE.elements) return new Unreadable('large map')
  const out: Record<string, unknown> = Object.create(null)
  for (const key of keys) out[key] = bounded((map as Record<string, unknown>)[key], depth + 1, budget)
  return out
}

/** Query parameters and headers: what stands once can be read, what stands more often cannot. */
export function singleValues(values: Readonly<Record<string, string | readonly string[]>>): Record<string, unknown> {
  const out: Record<string, unknown> = Object.create(null)
  for (const [name, value] of Object.entries(values)) {
    const single = typeof value === 'string' ? value : value.length === 1 ? value[0] : undefined
    out[name] = single === undefined || single.length > READABLE.string ? new Unreadable('repeated or long') : single
  }
  return out
}
