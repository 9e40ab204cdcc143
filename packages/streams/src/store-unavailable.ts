/** The store behind the streams did not take or give what was asked; the cause is inside. Edges map it by its name. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable'
}

/** Runs a call to the store; whatever it throws becomes `StoreUnavailable`. */
export async function fromStore<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof StoreUnavailable) throw error
    throw new StoreUnavailable('the stream store did not do what was asked', { cause: error })
  }
}
