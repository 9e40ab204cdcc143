import { isDeepStrictEqual } from 'node:util'

/** Throws unless both are the same, with both in the message: what the fuzzer reports. */
export function same(actual: unknown, expected: unknown, what = ''): void {
  if (!isDeepStrictEqual(actual, expected)) throw new Error(`${what} ${show(actual)} is not ${show(expected)}`)
}

function show(value: unknown): string {
  return JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? `${one}n` : one))?.slice(0, 2000) ?? String(value)
}
