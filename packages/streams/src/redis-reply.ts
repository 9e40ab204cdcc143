/** Fields of an entry, and of `XINFO`, arrive as a flat list of names and values. */
export function named(fields: readonly string[]): Record<string, string | undefined> {
  const found: Record<string, string | undefined> = {}
  for (let at = 0; at + 1 < fields.length; at += 2) found[fields[at] ?? ''] = fields[at + 1]
  return found
}
