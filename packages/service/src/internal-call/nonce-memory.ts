import type { Clock } from '@caracal/core'

export type NonceMemory = {
  /** `new` exactly once per nonce within the window; `full` when nothing more can be remembered. */
  claim(nonce: string): 'new' | 'seen' | 'full'
}

/** Remembers nonces of this replica for at least `windowMs`, at most twice as long, and never more than `capacity` of them. */
export function createNonceMemory(options: { readonly windowMs: number; readonly capacity: number; readonly now: Clock }): NonceMemory {
  // Two generations: forgetting costs nothing and needs no timer.
  let young = new Set<string>()
  let old = new Set<string>()
  let turned = options.now()
  return {
    claim(nonce) {
      const now = options.now()
      if (now - turned >= options.windowMs) {
        old = now - turned >= 2 * options.windowMs ? new Set() : young
        young = new Set()
        turned = now
      }
      if (young.has(nonce) || old.has(nonce)) return 'seen'
      if (young.size + old.size >= options.capacity) return 'full'
      young.add(nonce)
      return 'new'
    },
  }
}
