import { ok, type Result, refuse, type Seconds, type UnixMillis } from '@caracal/core'
import type { CallDependencies, ClaimingLater } from '../call/governed-call.ts'
import { type OneTimeUse, onlyHeader, type Presentation, type ProvenCaller } from './proven-caller.ts'

export type ReplayRules = {
  /** How old a request may be. */
  readonly window: Seconds
  /** How long a nonce is remembered: at least the window and the minute that clocks may differ. */
  readonly nonceTtl: Seconds
}

/** How far ahead a caller's clock may be. */
export const AHEAD: Seconds = 60

const NONCE = /^[A-Za-z0-9._~+/=-]{16,128}$/
const TIMESTAMP = /^\d{10}$/

/**
 * What makes this call one of its kind (D-27): `X-Caracal-Nonce` with `X-Caracal-Timestamp` (Unix seconds), or the single-use id of the
 * credential when neither is sent. The time is looked at first: it says for how long a nonce has to be remembered. Nothing is used
 * up here; the call pipeline claims it, after everything that could refuse for nothing.
 */
export function oneTimeUse(
  caller: ProvenCaller,
  { rawHeaders }: Presentation,
  now: UnixMillis,
  { window, nonceTtl }: ReplayRules,
): Result<OneTimeUse, 'nonce_required' | 'invalid_request' | 'timestamp_outside_window'> {
  const nonce = onlyHeader(rawHeaders, 'x-caracal-nonce')
  const timestamp = onlyHeader(rawHeaders, 'x-caracal-timestamp')
  if (nonce === null || timestamp === null) return refuse('invalid_request', 'X-Caracal-Nonce or X-Caracal-Timestamp stands more than once')
  if (nonce === undefined && timestamp === undefined && caller.use !== null) return ok(caller.use)
  if (timestamp === undefined || !TIMESTAMP.test(timestamp))
    return refuse('nonce_required', 'X-Caracal-Timestamp must be the time in Unix seconds')
  const age = now / 1000 - Number(timestamp)
  if (age > window || age < -AHEAD) return refuse('timestamp_outside_window')
  if (nonce === undefined || !NONCE.test(nonce))
    return refuse('nonce_required', 'X-Caracal-Nonce must be 16 to 128 characters of A-Z a-z 0-9 . _ ~ + / = -')
  return ok({ key: `nonce:${caller.zone}:${caller.application}:${nonce}`, ttl: nonceTtl })
}

type Store = Pick<CallDependencies, 'claim' | 'release'>

/**
 * A first look before the shared store: what this replica saw is refused without asking. It only ever refuses more, so it may be of any
 * size; the store decides about everything that it does not know.
 */
export function rememberUses(store: Store, size: number): Store & ClaimingLater & { readonly remembered: () => number } {
  const seen = new Map<string, string>()
  const isElses = (key: string, owner: string) => {
    const before = seen.get(key)
    return before !== undefined && before !== owner
  }
  const remember = (key: string, owner: string) => {
    if (size === 0) return
    seen.set(key, owner)
    if (seen.size <= size) return
    const oldest = seen.keys().next()
    if (!oldest.done) seen.delete(oldest.value)
  }
  const forget = (key: string, owner: string) => {
    if (seen.get(key) === owner) seen.delete(key)
  }
  return {
    async claim(key, owner, ttl) {
      if (isElses(key, owner)) return false
      const got = await store.claim(key, owner, ttl)
      if (got) remember(key, owner)
      return got
    },
    async release(key, owner) {
      forget(key, owner)
      await store.release(key, owner)
    },
    wants(key, owner) {
      if (isElses(key, owner)) return false
      remember(key, owner)
      return true
    },
    forget,
    remembered: () => seen.size,
  }
}
