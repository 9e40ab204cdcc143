import type { IncomingMessage } from 'node:http'
import type { Reason, ZoneId } from '@caracal/core'
import type { RefusalAggregator } from '@caracal/streams'
import type { Callers } from '../callers/open-callers.ts'

/**
 * Notes a refusal of a request whose caller is not proven, or that was refused before anybody looked at it: malformed paths, bad
 * signatures, limits. It goes to the zone that the credential names, when there is such a zone, counted by source, reason and second:
 * naming a zone makes a bounded number of events there, whoever does it (P-095).
 */
export function noteEarlyRefusals(options: {
  readonly refusals: Pick<RefusalAggregator, 'note'>
  readonly callers: Pick<Callers, 'zoneOf'>
  readonly knowsZone: (zone: ZoneId) => boolean
  readonly sourceOf: (request: IncomingMessage) => string
}): (request: IncomingMessage, reason: Reason) => void {
  return (request, reason) => {
    const zone = options.callers.zoneOf(request)
    const known = zone !== undefined && options.knowsZone(zone) ? zone : undefined
    options.refusals.note({ source: options.sourceOf(request), reason, zone: known })
  }
}
