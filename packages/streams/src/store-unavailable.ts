import type { Reason } from '@caracal/core'

/** What kept a store from doing what was asked: it does not answer, it has no room, or it takes no changes. */
export type StoreReason = Extract<Reason, 'store_unavailable' | 'store_full' | 'store_read_only'>

/** The store behind the streams did not take or give what was asked; the cause is inside. Edges map it by its reason. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable'
  readonly reason: StoreReason

  constructor(message: string, options: { readonly cause: unknown }) {
    super(message, options)
    this.reason = refusedChange(options.cause) ?? 'store_unavailable'
  }
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

/** Postgres: no space left (53100). Redis: `maxmemory` is reached and nothing may be evicted. */
const FULL = /^OOM /
/** Redis: a replica, a disk that takes no snapshot, too few replicas to write to. */
const READ_ONLY = /^(?:READONLY|MISCONF|NOREPLICAS) /

/** The reason when a store answered that it takes no change at the moment (P-174); undefined for every other error. */
export function refusedChange(error: unknown, depth = 0): Exclude<StoreReason, 'store_unavailable'> | undefined {
  if (!(error instanceof Error) || depth > 2) return undefined
  const code = 'code' in error ? error.code : undefined
  if (code === '53100' || FULL.test(error.message)) return 'store_full'
  // 25006: read_only_sql_transaction, also on a standby.
  if (code === '25006' || READ_ONLY.test(error.message)) return 'store_read_only'
  // A MULTI is refused with what its commands were refused with.
  const within = 'previousErrors' in error && Array.isArray(error.previousErrors) ? (error.previousErrors as unknown[]) : []
  for (const one of within) {
    const found = refusedChange(one, depth + 1)
    if (found !== undefined) return found
  }
  return undefined
}
