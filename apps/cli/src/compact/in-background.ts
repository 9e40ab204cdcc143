/** It is under way; who waits looks again. */
export class NotYet extends Error {
  override readonly name = 'NotYet'
}

/**
 * Something long, as what a waiting room looks at: begun by the first look, and again by the next one after it failed. A look throws until
 * it is done: `NotYet` while it runs, and what it failed with. `onFailure` hears of each failure.
 */
export function inBackground(work: () => Promise<void>, onFailure: (error: unknown) => void): () => Promise<void> {
  let done = false
  let running = false
  let failed: unknown
  return async () => {
    if (done) return
    const before = failed
    failed = undefined
    if (!running) {
      running = true
      work()
        .then(
          () => {
            done = true
          },
          (error: unknown) => {
            failed = error
            onFailure(error)
          },
        )
        .finally(() => {
          running = false
        })
    }
    throw before ?? new NotYet('it is under way')
  }
}
