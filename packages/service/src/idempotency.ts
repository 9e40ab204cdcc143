import { createHash } from 'node:crypto'
import type { Refusal } from '@caracal/core'

/** A finished answer as it is kept: the same key gives the same bytes again. */
export type KeptAnswer = { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string }

export type IdempotencyBegin =
  | { readonly state: 'claimed' }
  | { readonly state: 'in_flight' }
  | { readonly state: 'other_request' }
  | { readonly state: 'answered'; readonly answer: KeptAnswer }

/**
 * Remembers what was answered under a key for 24 h (3-wire). `scope` is the principal, so that it survives a new token
 * (P-044); `fingerprint` covers method, path, query and body. A claim whose holder died becomes free after 60 s.
 */
export type IdempotencyStore = {
  begin(scope: string, key: string, fingerprint: string): Promise<IdempotencyBegin>
  finish(scope: string, key: string, answer: KeptAnswer): Promise<void>
  /** Nothing was changed: the key may be used again. */
  abandon(scope: string, key: string): Promise<void>
}

/**
 * The claim a handler holds. A handler that writes the receipt in its own transaction (P-124) sets `settled`, and the route
 * layer writes none.
 */
export type IdempotencyClaim = { readonly scope: string; readonly key: string; readonly fingerprint: string; settled: boolean }

const KEY = /^[\x21-\x7e]{1,255}$/

/** The key of a request; `undefined` when it has none. */
export function idempotencyKey(header: string | string[] | undefined): { ok: true; key: string | undefined } | Refusal<'invalid_request'> {
  if (header === undefined) return { ok: true, key: undefined }
  if (Array.isArray(header) || !KEY.test(header)) {
    return { ok: false, reason: 'invalid_request', detail: 'Idempotency-Key must be 1 to 255 printable characters' }
  }
  return { ok: true, key: header }
}

export function fingerprint(method: string, url: string, body: Uint8Array): string {
  return createHash('sha256').update(`${method}\n${url}\n`).update(body).digest('hex')
}
