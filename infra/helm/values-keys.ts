import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isMap, isScalar, parseDocument, type YAMLMap } from 'yaml'

/** One key of values.yaml that somebody can set: where it is, what it is unless it is set, and what its comment says. */
export type ValuesKey = { readonly path: readonly string[]; readonly value: unknown; readonly comment: string }

/** A branch has members of its own; a key with a comment `-- …` is a leaf, whatever it holds. */
export type ValuesBranch = { readonly members: ReadonlyMap<string, ValuesBranch | ValuesKey> }

const MARK = /^\s*--\s*/

/** values.yaml as a tree. @throws when a key that holds no others says nothing about itself. */
export function valuesTree(): ValuesBranch {
  const document = parseDocument(readFileSync(join(import.meta.dirname, 'caracal', 'values.yaml'), 'utf8'))
  if (!isMap(document.contents)) throw new TypeError('values.yaml is no map')
  return branch(document.contents, [])
}

/** Every key, in the order of the file. */
export function valuesKeys(tree: ValuesBranch = valuesTree()): readonly ValuesKey[] {
  return [...tree.members.values()].flatMap((member) => ('members' in member ? valuesKeys(member) : [member]))
}

function branch(map: YAMLMap, path: readonly string[]): ValuesBranch {
  const members = new Map<string, ValuesBranch | ValuesKey>()
  for (const [at, { key, value }] of map.items.entries()) {
    if (!isScalar(key)) throw new TypeError(`a key below ${path.join('.')} is no text`)
    const name = String(key.value)
    const own = [...path, name]
    // A comment above the first key of a map stands at the map.
    const above = key.commentBefore ?? (at === 0 ? map.commentBefore : undefined) ?? ''
    // What is parted from it by a blank line is about more than this key.
    const comment = above.split('\n\n').at(-1) ?? ''
    if (MARK.test(comment)) members.set(name, { path: own, value: plain(value), comment: sentence(comment) })
    else if (isMap(value) && value.items.length > 0) members.set(name, branch(value, own))
    else throw new TypeError(`values.yaml says nothing about ${own.join('.')}`)
  }
  return { members }
}

function plain(node: unknown): unknown {
  return typeof node === 'object' && node !== null && 'toJSON' in node ? (node as { toJSON(): unknown }).toJSON() : node
}

function sentence(comment: string): string {
  return comment
    .replace(MARK, '')
    .split('\n')
    .map((line) => line.trim())
    .join(' ')
}
