import { appendLeaves, appendSubtree, type Frontier, frontierRoot, frontierWidth } from './frontier.ts'
import type { Proof } from './proof.ts'
import { perfectSubtrees } from './tree-size.ts'

const BATCH = 1024

/**
 * Recomputes the root of a log from a range of its leaves and the subtrees beside it, and the roots it had at sizes
 * inside the range on the way.
 */
export class RangeRoot {
  #frontier: Frontier
  #pending: Uint8Array[] = []
  readonly #sizes: ReadonlySet<number>
  readonly #roots = new Map<number, Uint8Array>()

  private constructor(frontier: Frontier, sizes: Iterable<number>) {
    this.#frontier = frontier
    this.#sizes = new Set(sizes)
    this.#noteRoot()
  }

  /** Begins at leaf `from` with the subtrees left of it. `undefined` when these cannot be what stands left of `from`. */
  static begin(from: number, left: Proof, sizes: Iterable<number>): RangeRoot | undefined {
    return left.length === frontierWidth(from) ? new RangeRoot({ size: from, hashes: left }, sizes) : undefined
  }

  push(leaf: Uint8Array): void {
    this.#pending.push(leaf)
    const size = this.#frontier.size + this.#pending.length
    if (this.#pending.length >= BATCH || this.#sizes.has(size)) this.#flush()
  }

  /** The root at the end, with the subtrees right of the range. `undefined` when these cannot stand there. */
  finish(size: number, right: Proof): Uint8Array | undefined {
    this.#flush()
    const subtrees = perfectSubtrees(this.#frontier.size, size)
    if (subtrees.length !== right.length) return undefined
    let grown = this.#frontier
    for (const [i, hash] of right.entries()) grown = appendSubtree(grown, subtrees[i]?.height ?? 0, hash)
    return frontierRoot(grown)
  }

  /** The root at one of the sizes asked for, if the range has reached it. */
  rootAt(size: number): Uint8Array | undefined {
    return this.#roots.get(size)
  }

  #flush(): void {
    this.#frontier = appendLeaves(this.#frontier, this.#pending).frontier
    this.#pending = []
    this.#noteRoot()
  }

  #noteRoot(): void {
    if (this.#sizes.has(this.#frontier.size)) this.#roots.set(this.#frontier.size, frontierRoot(this.#frontier))
  }
}
