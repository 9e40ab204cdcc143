import type { IncomingMessage } from 'node:http'
import { isId, type Reason, type ZoneId } from '@caracal/core'
import { parseJws } from '@caracal/enforcement'
import type { RefusalAggregator } from '@caracal/streams'
import { presentedMandate } from '../credential/present-mandate.ts'

/**
 * Notes a refusal of a request whose mandate is not proven, or that was refused before anybody looked at it: malformed paths, bad
 * signatures, limits. It goes to the zone that the token names, when there is such a zone, counted by source, reason and second:
 * naming a zone makes a bounded number of events there, whoever does it (P-095).
 */
export function noteEarlyRefusals(options: {
  readonly refusals: Pick<RefusalAggregator, 'note'>
  readonly knowsZone: (zone: ZoneId) => boolean
  readonly sourceOf: (request: IncomingMessage) => string
}): (request: IncomingMessage, reason: Reason) => void {
  return (request, reason) => {
    const zone = namedZone(request)
    const known = zone !== undefined && options.knowsZone(zone) ? zone : undefined
    options.refusals.note({ source: options.sourceOf(request), reason, zone: known })
  }
}

function namedZone({ rawHeaders }: IncomingMessage): ZoneId | undefined {
  const token = presentedMandate(rawHeaders)
  const jws = token.ok ? parseJws(token.value) : token
  const zone = jws.ok ? jws.value.payload.zone : undefined
  return isId('zone', zone) ? zone : undefined
}
