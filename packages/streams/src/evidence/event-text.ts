/**
 * The canonical text (RFC 8785) of an event as services make them, in one pass: plain objects, lists, well-formed text, finite
 * numbers. Undefined for everything that needs a second look (a list with a hole, half of a character or NUL in a name, a value that is
 * not JSON, depth beyond 8): then the slow way decides. NUL and halves of characters in text become U+FFFD on both ways.
 */
export function eventText(value: object): string | undefined {
  return objectText(value as Readonly<Record<string, unknown>>, 8)
}

/** Printable ASCII without quote and backslash stands for itself in JSON. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/
/** Longer text is looked at by the engine's own means, which are faster there. */
const SHORT = 256

function valueText(value: unknown, depth: number): string | undefined {
  if (typeof value === 'string') return stringText(value)
  if (typeof value === 'number') return Number.isFinite(value) ? `${value}` : undefined
  if (typeof value === 'boolean') return value ? 'true' : 'false'
  if (value === null) return 'null'
  if (typeof value !== 'object' || depth === 0) return undefined
  return Array.isArray(value) ? arrayText(value, depth - 1) : objectText(value as Readonly<Record<string, unknown>>, depth - 1)
}

function stringText(text: string): string {
  if (text.length < SHORT && PLAIN.test(text)) return `"${text}"`
  const whole = text.toWellFormed()
  return JSON.stringify(whole.includes('\0') ? whole.replaceAll('\0', '\uFFFD') : whole)
}

function arrayText(values: readonly unknown[], depth: number): string | undefined {
  let text = '['
  for (let at = 0; at < values.length; at += 1) {
    const item = valueText(values[at], depth)
    if (item === undefined) return undefined
    text += at === 0 ? item : `,${item}`
  }
  return `${text}]`
}

function objectText(value: Readonly<Record<string, unknown>>, depth: number): string | undefined {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return undefined
  let text = '{'
  for (const name of sortedNames(value)) {
    const member = value[name]
    if (member === undefined) continue
    const written = valueText(member, depth)
    if (written === undefined || !PLAIN.test(name) || name === '__proto__') return undefined
    text += text.length === 1 ? `"${name}":${written}` : `,"${name}":${written}`
  }
  return `${text}}`
}

/** By UTF-16 code units, as RFC 8785 wants it. A few names are sorted where they stand. */
function sortedNames(value: object): readonly string[] {
  const names = Object.keys(value)
  if (names.length > 24) return names.sort()
  for (let at = 1; at < names.length; at += 1) {
    const name = names[at] ?? ''
    let before = at - 1
    while (before >= 0 && (names[before] ?? '') > name) {
      names[before + 1] = names[before] ?? ''
      before -= 1
    }
    names[before + 1] = name
  }
  return names
}
