import { isAlias, isMap, isScalar, isSeq, type LineCounter, type Node, type Pair, type YAMLMap } from 'yaml'
import type { PolicyProblem } from './problem.ts'

/** Where a field stands: its path for people and its node for line and column. */
export type Place = { readonly path: string; readonly node: Node | null | undefined }

export type MapFields = { readonly [name: string]: Place | undefined }

/**
 * Reads a YAML node strictly and collects every problem instead of stopping at the first. Each method gives the value or
 * `undefined` after it has recorded why there is none.
 */
export class NodeReader {
  readonly problems: PolicyProblem[] = []
  readonly #lines: LineCounter | undefined

  constructor(lines: LineCounter | undefined) {
    this.#lines = lines
  }

  report(place: Place, message: string, offset = 0): undefined {
    this.problems.push({ ...this.#position(place.node, offset), path: place.path, message })
    return undefined
  }

  #position(node: Node | null | undefined, offset: number): { line?: number; column?: number } {
    const start = node?.range?.[0]
    if (this.#lines === undefined || start === undefined) return {}
    const { line, col } = this.#lines.linePos(start + offset)
    return { line, column: col }
  }

  /** A mapping with only these keys; those in `required` must stand. `undefined` when it is not a mapping. */
  map(place: Place, required: readonly string[], optional: readonly string[] = []): MapFields | undefined {
    const node = this.#plain(place)
    if (!isMap(node)) return this.report(place, `must be a mapping${required.length > 0 ? ` with ${required.join(', ')}` : ''}`)
    const known = [...required, ...optional]
    const { fields, names } = this.#entries(place, node, (name, key) => {
      if (known.includes(name)) return true
      const near = known.find((candidate) => isNear(candidate, name))
      this.report({ path: join(place.path, name), node: key }, near === undefined ? 'unknown key' : `unknown key; did you mean ${near}?`)
      return false
    })
    for (const name of required) if (!names.has(name)) this.report(place, `${name} is missing`)
    return fields
  }

  /** A mapping of free names to strings. */
  strings(place: Place): Record<string, string> | undefined {
    const node = this.#plain(place)
    if (!isMap(node)) return this.report(place, 'must be a mapping of names to strings')
    const out: Record<string, string> = {}
    for (const [name, field] of Object.entries(this.#entries(place, node, () => true).fields)) {
      const value = this.string(field)
      if (value !== undefined) Object.defineProperty(out, name, { value, enumerable: true })
    }
    return out
  }

  #entries(
    place: Place,
    node: YAMLMap,
    accept: (name: string, key: Node) => boolean,
  ): { readonly fields: Record<string, Place>; readonly names: ReadonlySet<string> } {
    const fields: Record<string, Place> = Object.create(null)
    const names = new Set<string>()
    for (const pair of node.items as Pair<Node, Node | null>[]) {
      const name = isScalar(pair.key) ? pair.key.value : undefined
      if (typeof name !== 'string' || name === '') {
        this.report({ path: place.path, node: pair.key }, 'a key is a plain string')
        continue
      }
      const path = join(place.path, name)
      if (names.has(name)) {
        this.report({ path, node: pair.key }, 'stands twice')
        continue
      }
      names.add(name)
      if (!accept(name, pair.key)) continue
      if (pair.value === null || (isScalar(pair.value) && pair.value.value === null)) this.report({ path, node: pair.key }, 'has no value')
      else fields[name] = { path, node: pair.value }
    }
    return { fields, names }
  }

  /** A list of at least one and at most `most` elements. */
  list(place: Place, most: number): readonly Place[] | undefined {
    const node = this.#plain(place)
    if (!isSeq(node)) return this.report(place, 'must be a list')
    if (node.items.length === 0) return this.report(place, 'must not be empty')
    if (node.items.length > most) return this.report(place, `has more than ${most} elements`)
    return node.items.map((item, index) => ({ path: `${place.path}[${index}]`, node: item as Node | null }))
  }

  string(place: Place): string | undefined {
    const node = this.#plain(place)
    if (!isScalar(node) || typeof node.value !== 'string') return this.report(place, 'must be a string')
    return node.value
  }

  boolean(place: Place): boolean | undefined {
    const node = this.#plain(place)
    if (!isScalar(node) || typeof node.value !== 'boolean') return this.report(place, 'must be true or false')
    return node.value
  }

  /** The value of a scalar as it stands, of any type. */
  scalar(place: Place): unknown {
    const node = this.#plain(place)
    return isScalar(node) ? node.value : undefined
  }

  /** Every element that `read` accepts; an element that is refused has been reported. Equal strings may not repeat. */
  each<T>(place: Place, most: number, read: (element: Place) => T | undefined): T[] | undefined {
    const elements = this.list(place, most)
    if (elements === undefined) return undefined
    const out: T[] = []
    for (const element of elements) {
      const value = read(element)
      if (value === undefined) continue
      if (typeof value === 'string' && out.includes(value)) this.report(element, `${value} stands twice`)
      else out.push(value)
    }
    return out
  }

  /** Anchors, aliases and tags make one text mean another: none of them is accepted. */
  #plain(place: Place): Node | null | undefined {
    const { node } = place
    if (isAlias(node)) return this.report(place, 'aliases are not accepted') ?? null
    if (node !== null && node !== undefined && 'anchor' in node && node.anchor !== undefined) this.report(place, 'anchors are not accepted')
    if (node?.tag !== undefined && !PLAIN_TAGS.has(node.tag)) this.report(place, `the tag ${node.tag} is not accepted`)
    return node
  }
}

const PLAIN_TAGS = new Set(['str', 'bool', 'int', 'float', 'null', 'map', 'seq'].map((name) => `tag:yaml.org,2002:${name}`))

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}

/** One letter more, less, other or swapped, or another case: what people mistype. */
function isNear(a: string, b: string): boolean {
  const [x, y] = [a.toLowerCase(), b.toLowerCase()]
  if (x === y) return true
  if (Math.abs(x.length - y.length) > 1) return false
  let at = 0
  while (at < x.length && x[at] === y[at]) at += 1
  const restX = x.slice(at)
  const restY = y.slice(at)
  if (restX.length === restY.length) {
    return restX.slice(1) === restY.slice(1) || (restX[0] === restY[1] && restX[1] === restY[0] && restX.slice(2) === restY.slice(2))
  }
  return restX.length > restY.length ? restX.slice(1) === restY : restX === restY.slice(1)
}
