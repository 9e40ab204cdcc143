import { AsyncLocalStorage } from 'node:async_hooks'
import type { ZoneId } from '@caracal/core'

const scope = new AsyncLocalStorage<ZoneId>()

/**
 * Everything that `work` asks a service's database sees and changes rows of this zone only, whatever the statement says (P-132).
 * Within it another zone may be named for a part. Outside of it a zone's rows are not there, save those a service's own policy
 * shows it of every zone.
 */
export function inZone<T>(zone: ZoneId, work: () => T): T {
  return scope.run(zone, work)
}

/** The zone that statements are about now. */
export function currentZone(): ZoneId | undefined {
  return scope.getStore()
}
