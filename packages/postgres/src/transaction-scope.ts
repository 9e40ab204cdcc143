import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'
import type { KyselyPlugin } from 'kysely'

/**
 * Knows, per asynchronous context, whether a transaction of one database is open. A statement outside the transaction
 * from within it would wait for ever on the one embedded connection, and for a second pool connection on a server:
 * it throws at once instead, on both.
 */
export function transactionScope() {
  const scope = new AsyncLocalStorage<{ open: boolean }>()
  const assertOutside = () => {
    if (scope.getStore()?.open) throw new Error('inside a transaction every statement goes through the transaction')
  }
  const guard: KyselyPlugin = {
    transformQuery: ({ node }) => {
      assertOutside()
      return node
    },
    transformResult: async ({ result }) => result,
  }
  return {
    /** Throws inside a transaction. */
    assertOutside,
    /** For the Kysely instance that is used outside transactions. */
    guard,
    async run<T>(work: () => Promise<T>): Promise<T> {
      assertOutside()
      const state = { open: true }
      try {
        return await scope.run(state, work)
      } finally {
        state.open = false
      }
    },
  }
}

/** Runs a callback in the context it was registered in, not in that of whoever triggers it. */
export function inOwnContext<A extends readonly unknown[]>(callback: (...args: A) => void): (...args: A) => void {
  const context = new AsyncResource('caracal.notification')
  return (...args) => context.runInAsyncScope(callback, undefined, ...args)
}
