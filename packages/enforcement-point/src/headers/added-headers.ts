import type { RequestId } from '@caracal/core'

/**
 * What we add to the answer of an allowed call, as a flat list. `degraded`: it was decided, or charged, from memory while what that
 * stands on could not be confirmed.
 */
export function addedHeaders(requestId: RequestId, degraded = false): string[] {
  const added = ['X-Request-Id', requestId, 'X-Caracal-Decision', 'allow']
  return degraded ? [...added, 'X-Caracal-Degraded', 'unconfirmed'] : added
}
