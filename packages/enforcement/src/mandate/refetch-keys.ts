import type { Seconds, ZoneId } from '@caracal/core'

/** What came of asking for keys anew: they were read, they were read a moment ago, or the source does not answer. */
export type Refetched = 'fresh' | 'cooling' | 'unavailable'

const COOL_DOWN: Seconds = 30

/**
 * Asks for the keys of a zone anew when a mandate names a key nobody knows (P-012): one flight per zone, then 30 s of rest,
 * also after a failure. Only for zones already known; the caller sees to that, so a forged zone steers nothing.
 * During the rest after a failure the answer stays `unavailable`: an outage does not read as a bad signature.
 */
export function keyRefetcher(
  fetch: (zone: ZoneId) => Promise<void>,
  monotonic: () => number = () => performance.now(),
): (zone: ZoneId) => Promise<Refetched> {
  const last = new Map<ZoneId, { readonly at: number; readonly failed: boolean }>()
  const flights = new Map<ZoneId, Promise<Refetched>>()

  return (zone) => {
    const flying = flights.get(zone)
    if (flying !== undefined) return flying
    const before = last.get(zone)
    if (before !== undefined && monotonic() - before.at < COOL_DOWN * 1000)
      return Promise.resolve(before.failed ? 'unavailable' : 'cooling')
    const flight = fetch(zone)
      .then(
        (): Refetched => 'fresh',
        (): Refetched => 'unavailable',
      )
      .then((outcome) => {
        last.set(zone, { at: monotonic(), failed: outcome === 'unavailable' })
        flights.delete(zone)
        return outcome
      })
    flights.set(zone, flight)
    return flight
  }
}
