/** What a list asks for: at most `limit` items after the one named by `after` (exclusive), in the order of the list. */
export type PageRequest = { readonly after?: string | undefined; readonly limit: number }

/** `next` is the `after` of the following page, null at the end. Exact: nothing is skipped or repeated when rows come and go. */
export type Page<T> = { readonly items: readonly T[]; readonly next: string | null }

/** Cuts the one row that was read beyond the limit and remembers whether it was there. */
export function toPage<R, T>(rows: readonly R[], limit: number, keyOf: (row: R) => string, toItem: (row: R) => T): Page<T> {
  const kept = rows.slice(0, limit)
  const last = kept.at(-1)
  return { items: kept.map(toItem), next: rows.length > limit && last !== undefined ? keyOf(last) : null }
}
