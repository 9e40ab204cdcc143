import type { Reason } from './reason.ts'

/** What was established. */
export type Ok<T> = { readonly ok: true; readonly value: T }

/** Why it was not: a stable reason from the catalogue, and what is wrong in words that leak nothing. */
export type Refusal<R extends Reason = Reason> = {
  readonly ok: false
  readonly reason: R
  /** Names what is wrong (a scope, a parameter). Never a secret, never the existence of something foreign. */
  readonly detail?: string
  /** Machine-readable members that the edge adds to the error body, e.g. `{ approval_id }`. */
  readonly data?: Readonly<Record<string, unknown>>
}

export type Result<T, R extends Reason = Reason> = Ok<T> | Refusal<R>

export function ok<T>(value: T): Ok<T> {
  return { ok: true, value }
}

export function refuse<R extends Reason>(reason: R, detail?: string, data?: Record<string, unknown>): Refusal<R> {
  return { ok: false, reason, ...(detail === undefined ? {} : { detail }), ...(data === undefined ? {} : { data }) }
}
