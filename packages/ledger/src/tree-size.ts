/** A tree size or leaf index: a whole number from 0 to 2^53 − 1. Arithmetic, not bit operations, which stop at 32 bits. */
export function isTreeSize(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0
}

/** Throws when the number cannot be a tree size: a bug of the caller, as texts are parsed before. */
export function assertTreeSize(n: number, name: string): void {
  if (!isTreeSize(n)) throw new RangeError(`${name} is not a whole number from 0 to 2^53 - 1`)
}

/** Decimal without sign or leading zeroes, at most 2^53 − 1; `undefined` for every other spelling. */
export function parseTreeSize(text: string): number | undefined {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text)) return undefined
  const n = Number(text)
  return isTreeSize(n) ? n : undefined
}

/** A perfect subtree: 2^height leaves from leaf `index · 2^height` on. */
export type Subtree = { readonly height: number; readonly index: number }

/**
 * The perfect, aligned subtrees that tile the leaves [from, to), left to right: the fewest there are.
 * Of [0, n) this is RFC 9162's decomposition of a tree: one subtree per bit of n.
 */
export function perfectSubtrees(from: number, to: number): Subtree[] {
  const out: Subtree[] = []
  let at = from
  while (at < to) {
    let height = 0
    let width = 1
    while (at % (width * 2) === 0 && at + width * 2 <= to) {
      width *= 2
      height += 1
    }
    out.push({ height, index: at / width })
    at += width
  }
  return out
}

/** RFC 9162 §2.1.1: the largest power of two smaller than n, for n > 1. */
export function splitPoint(n: number): number {
  let k = 1
  while (k * 2 < n) k *= 2
  return k
}
