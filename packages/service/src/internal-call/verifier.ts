import type { IncomingHttpHeaders } from 'node:http'
import { CLOCK_SKEW, type Clock, type KeyRing, ok, type Result, refuse } from '@caracal/core'
import { createNonceMemory } from './nonce-memory.ts'
import {
  answerContext,
  CALLER,
  NONCE,
  openBody,
  requestContext,
  requestKey,
  SIGNATURE,
  type SignedParts,
  sealBody,
  signAnswer,
  TIMESTAMP,
} from './signature.ts'

/** A call whose headers are in order; whether they are true shows when its body is there. */
export type ClaimedCall = SignedParts & { readonly signature: string }

/** A call that is proven. `seal` and `sign` speak back to this caller only. */
export type ProvenCall = {
  readonly caller: string
  /** The body, opened if it was sealed. */
  readonly body: Uint8Array
  readonly seal: (status: number, body: Uint8Array) => Buffer
  readonly sign: (status: number, body: Uint8Array) => string
}

export type InternalVerifier = {
  /** Before the body is read: form of the headers, time within ±60 s, caller among those of the row. */
  claim(
    headers: IncomingHttpHeaders,
    method: string,
    path: string,
    callers: readonly string[],
  ): Result<ClaimedCall, 'unauthenticated' | 'forbidden'>
  /** With the body: signature, then single use of the nonce, then the seal. */
  prove(claimed: ClaimedCall, body: Uint8Array, sealed: boolean): Result<ProvenCall, 'unauthenticated' | 'overloaded'>
}

const NONCE_FORM = /^[A-Za-z0-9_-]{22,64}$/
const CALLER_FORM = /^[a-z][a-z-]{1,31}$/

/** Verifies signed calls between roles. `keys` is asked each time, so that a rotated key file counts at once. */
export function createInternalVerifier(options: {
  readonly keys: () => KeyRing
  readonly now?: Clock
  readonly capacity?: number
}): InternalVerifier {
  const now = options.now ?? Date.now
  // A timestamp may lie 60 s ahead and stay acceptable for 60 s after that.
  const nonces = createNonceMemory({ windowMs: 2 * CLOCK_SKEW * 1000, capacity: options.capacity ?? 500_000, now })
  return {
    claim(headers, method, path, callers) {
      const caller = one(headers[CALLER])
      const timestamp = one(headers[TIMESTAMP])
      const nonce = one(headers[NONCE])
      const signature = one(headers[SIGNATURE])
      if (caller === undefined || timestamp === undefined || nonce === undefined || signature === undefined)
        return refuse('unauthenticated')
      if (!CALLER_FORM.test(caller) || !/^\d{13}$/.test(timestamp) || !NONCE_FORM.test(nonce) || !/^[A-Za-z0-9_-]{43}$/.test(signature)) {
        return refuse('unauthenticated')
      }
      if (Math.abs(now() - Number(timestamp)) > CLOCK_SKEW * 1000) return refuse('unauthenticated', 'the timestamp is more than 60 s away')
      if (!callers.includes(caller)) return refuse('forbidden')
      return ok({ caller, method, path, timestamp, nonce, signature })
    },
    prove(claimed, body, sealed) {
      const key = requestKey(options.keys(), claimed, body, claimed.signature)
      if (key === undefined) return refuse('unauthenticated')
      const seen = nonces.claim(`${claimed.caller} ${claimed.nonce}`)
      if (seen === 'full') return refuse('overloaded')
      if (seen === 'seen') return refuse('unauthenticated', 'the nonce was used before')
      const plain = sealed ? openBody(key, requestContext(claimed), body) : body
      if (plain === undefined) return refuse('unauthenticated', 'the body must be sealed')
      return ok({
        caller: claimed.caller,
        body: plain,
        seal: (status, answer) => sealBody(key, answerContext(claimed.nonce, status), answer),
        sign: (status, answer) => signAnswer(key, claimed.nonce, status, answer),
      })
    },
  }
}

function one(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined
}
