import type { TSchema } from 'typebox'

/**
 * The same schema with every object closed that does not say otherwise itself, so that unknown fields are errors (P-126).
 * Intersections are left as they are: closing their members would refuse the members of the others.
 */
export function strict(schema: TSchema): TSchema {
  return close(schema) as TSchema
}

function close(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(close)
  if (typeof node !== 'object' || node === null) return node
  const source = node as Record<string, unknown>
  const copy: Record<string, unknown> = Object.create(Object.getPrototypeOf(source))
  // TypeBox marks kinds and optionality with properties that do not enumerate.
  for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(source))) {
    const value: unknown = property.value
    Object.defineProperty(copy, name, { ...property, value: CLOSED_BELOW.has(name) ? closeBelow(name, value) : value })
  }
  if (source.type === 'object' && typeof source.properties === 'object' && !('additionalProperties' in source)) {
    copy.additionalProperties = false
  }
  return copy
}

const CLOSED_BELOW = new Set(['properties', 'patternProperties', 'items', 'anyOf', 'oneOf', 'additionalProperties'])

function closeBelow(name: string, value: unknown): unknown {
  if (name !== 'properties' && name !== 'patternProperties') return close(value)
  return Object.fromEntries(Object.entries(value as Record<string, unknown>).map(([key, one]) => [key, close(one)]))
}
