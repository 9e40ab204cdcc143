/** A literal, or a prefix that ends in `*`. Nothing else has a special meaning (P-034). */
export type Pattern = string

/** At most one `*`, and only at the end. */
export function isPattern(text: string): boolean {
  const star = text.indexOf('*')
  return text.length > 0 && text.length <= 2048 && (star === -1 || star === text.length - 1)
}

/** Linear in the length of the pattern; byte-exact, no case folding (P-020). */
export function matchesPattern(pattern: Pattern, text: string): boolean {
  return pattern.endsWith('*') ? text.startsWith(pattern.slice(0, -1)) : pattern === text
}

/** Whether everything that `inner` matches is matched by `outer`. */
export function coversPattern(outer: Pattern, inner: Pattern): boolean {
  if (!outer.endsWith('*')) return outer === inner
  return inner.endsWith('*') ? inner.slice(0, -1).startsWith(outer.slice(0, -1)) : matchesPattern(outer, inner)
}
