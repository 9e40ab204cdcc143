import type { Price } from '@caracal/core'
import type { Charge } from '@caracal/enforcement'
import type { RawHeaders } from '../headers/header-hygiene.ts'

/** What an upstream's answer says of the call: its status, and the header that says the cost where the price names one. */
export type ChargedAnswer = { readonly status: number; readonly header: (name: string) => string | undefined }

/**
 * Ends a charge once an upstream answered: a failure of the upstream (5xx) gives it back, everything else is settled, with what the
 * upstream says that it cost where the price names a header for that. What is no amount there counts as the price.
 */
export function chargeAnswered(charge: Charge | null, price: Price | undefined, { status, header }: ChargedAnswer): void {
  if (charge === null) return
  if (status >= 500) void charge.release()
  else charge.settle(price?.actual === undefined ? undefined : header(price.actual))
}

/**
 * Ends a charge whose call has no answer. What never left is given back. What did may have had its effect: it is settled with the price,
 * or a caller would be served for nothing by hanging up.
 */
export function chargeUnanswered(charge: Charge | null, wentOut: boolean): void {
  if (charge === null) return
  if (wentOut) charge.settle()
  else void charge.release()
}

/** The value of a header as it came; undefined when it is not there, or there more than once. */
export function headerIn(raw: RawHeaders, name: string): string | undefined {
  const places = raw.flatMap((text, at) => (at % 2 === 0 && text.toLowerCase() === name.toLowerCase() ? [at] : []))
  const [at] = places
  return at === undefined || places.length > 1 ? undefined : raw[at + 1]
}
