import type { Event } from '@caracal/core'
import type { ChangeRequest } from './commit-change.ts'

/** What every event of an administrative request says: who it was, which request, which route. The actor is never the caller's to name (P-123). */
export function eventFrame(request: ChangeRequest): Pick<Event, 'actor' | 'operation' | 'request_id' | 'client_request_id' | 'trace_id'> {
  const { id, clientRequestId, principal, trace, method, url } = request
  return {
    ...(principal.kind === 'admin' ? { actor: { admin: principal.id } } : {}),
    operation: { method, path: url.split('?')[0] ?? url },
    request_id: id,
    ...(clientRequestId === undefined ? {} : { client_request_id: clientRequestId }),
    trace_id: trace.traceId,
  }
}
