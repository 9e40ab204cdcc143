import type { Queryable } from './database.ts'

/** What is to happen once something was written to the outbox through a connection or a transaction. */
const written = new WeakMap<Queryable, () => void>()

/** Says what to do when `outboxWritten` is called for this connection or transaction. */
export function whenOutboxWritten(db: Queryable, then: () => void): void {
  written.set(db, then)
}

/** Rows stand in the outbox; within a transaction they do once it commits. */
export function outboxWritten(db: Queryable): void {
  written.get(db)?.()
}

/** Tells the dispatchers of this process. Each listener runs on its own, after whoever called. */
export function outboxSignal(): { readonly raise: () => void; readonly listen: (listener: () => void) => () => void } {
  const listeners = new Set<() => void>()
  return {
    raise() {
      for (const listener of listeners) queueMicrotask(listener)
    },
    listen(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}
