/** Parsed YAML is walked by dotted paths; what is not there is undefined. */
export function at(value: unknown, path: string): unknown {
  let here = value
  for (const step of path.split('.')) {
    if (Array.isArray(here)) here = here[Number(step)]
    else if (isMap(here)) here = here[step]
    else return undefined
  }
  return here
}

/** The list at a path; an absent one is empty. */
export function listAt(value: unknown, path: string): readonly unknown[] {
  const list = at(value, path) ?? []
  if (!Array.isArray(list)) throw new TypeError(`${path} is no list`)
  return list
}

/** The map at a path; an absent one is empty. */
export function mapAt(value: unknown, path: string): Readonly<Record<string, unknown>> {
  const map = at(value, path) ?? {}
  if (!isMap(map)) throw new TypeError(`${path} is no map`)
  return map
}

/** The text at a path; a number is its digits, an absent one is empty. */
export function textAt(value: unknown, path: string): string {
  const text = at(value, path) ?? ''
  if (typeof text !== 'string' && typeof text !== 'number' && typeof text !== 'boolean') throw new TypeError(`${path} is no text`)
  return String(text)
}

export function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A tree with one value at a dotted path. */
export function treeOf(path: string, value: unknown): Record<string, unknown> {
  return path
    .split('.')
    .reverse()
    .reduce<Record<string, unknown>>((inner, step, index) => ({ [step]: index === 0 ? value : inner }), {})
}

/** As Helm merges values: maps key by key, everything else is replaced. */
export function merged(...trees: readonly Readonly<Record<string, unknown>>[]): Record<string, unknown> {
  const all: Record<string, unknown> = {}
  for (const tree of trees)
    for (const [key, value] of Object.entries(tree)) {
      const before = all[key]
      all[key] = isMap(value) && isMap(before) ? merged(before, value) : value
    }
  return all
}
