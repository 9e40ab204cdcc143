import { ok, type Result, refuse } from '@caracal/core'

/** Deeper than this is an attack on whoever walks it. */
const MAX_DEPTH = 64

/** A JSON body, strictly: UTF-8, no `__proto__`, at most 64 levels. */
export function parseJsonBody(bytes: Uint8Array): Result<unknown, 'malformed_json'> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    return refuse('malformed_json')
  }
  return acceptable(value, 0) ? ok(value) : refuse('malformed_json', 'the body is nested too deeply or names __proto__')
}

function acceptable(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (depth > MAX_DEPTH || Object.hasOwn(value, '__proto__')) return false
  return Object.values(value).every((one) => acceptable(one, depth + 1))
}
