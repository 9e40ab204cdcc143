/** A span in whole or fractional seconds. */
export type Seconds = number

/** Seconds since the Unix epoch, as JWTs carry them. */
export type UnixSeconds = number

/** Milliseconds since the Unix epoch, as `Date.now()` gives them. */
export type UnixMillis = number

/** Where time comes from: `Date.now` in a process, a hand-turned clock in a test. */
export type Clock = () => UnixMillis

/** Tolerated clock difference between parties, both directions (RFC 8725, P-014). */
export const CLOCK_SKEW: Seconds = 60

/** No mandate lives longer. */
export const MAX_MANDATE_LIFE: Seconds = 900

/** What a mandate lives when nothing says otherwise. */
export const DEFAULT_MANDATE_LIFE: Seconds = 300
