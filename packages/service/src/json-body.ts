import { ok, type Result, refuse } from '@caracal/core'

/** Deeper than this is an attack on whoever walks it. */
const MAX_DEPTH = 64

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A JSON body, strictly: UTF-8, every key once, no `__proto__`, at most 64 levels. */
export function parseJsonBody(bytes: Uint8Array): Result<unknown, 'malformed_json'> {
  let text: string
  let value: unknown
  try {
    text = UTF8.decode(bytes)
    value = JSON.parse(text)
  } catch {
    return refuse('malformed_json')
  }
  // Parsers differ on which of two wins: what is decided on would not be what the other side reads (P-089).
  const twice = duplicateKey(text)
  if (twice !== null) return refuse('malformed_json', `the key ${JSON.stringify(twice.slice(0, 64))} stands twice in one object`)
  return acceptable(value, 0) ? ok(value) : refuse('malformed_json', 'the body is nested too deeply or names __proto__')
}

function acceptable(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (depth > MAX_DEPTH || Object.hasOwn(value, '__proto__')) return false
  return Object.values(value).every((one) => acceptable(one, depth + 1))
}

const [QUOTE, COMMA, OPEN_LIST, BACKSLASH, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x22, 0x2c, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d]

/** The first key that stands twice in one object, compared after unescaping; null when there is none. `text` is valid JSON. */
export function duplicateKey(text: string): string | null {
  const open: (Set<string> | null)[] = []
  let keyComes = false
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at)
    if (character === OPEN_OBJECT) {
      open.push(new Set())
      keyComes = true
    } else if (character === OPEN_LIST) {
      open.push(null)
      keyComes = false
    } else if (character === CLOSE_OBJECT || character === CLOSE_LIST) {
      open.pop()
      keyComes = false
    } else if (character === COMMA) {
      keyComes = open.at(-1) !== null
    } else if (character === QUOTE) {
      const end = endOfString(text, at)
      if (keyComes) {
        const written = text.slice(at + 1, end)
        const key = written.includes('\\') ? (JSON.parse(`"${written}"`) as string) : written
        const keys = open.at(-1)
        if (keys?.has(key)) return key
        keys?.add(key)
        keyComes = false
      }
      at = end
    }
  }
  return null
}

function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1)
  while (isEscaped(text, end)) end = text.indexOf('"', end + 1)
  return end
}

/** Whether an odd number of backslashes stands before it. */
function isEscaped(text: string, at: number): boolean {
  let before = at
  while (text.charCodeAt(before - 1) === BACKSLASH) before--
  return (at - before) % 2 === 1
}
