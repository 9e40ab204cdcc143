import { REASONS, type Refusal } from '@caracal/core'
import { type RefusalContext, retryHeader, type WireRefusal } from './problem.ts'

/**
 * RFC 6749 §5.2 error: `error`, `error_description`, with our stable `code` and `request_id`, and the members of `refusal.data`.
 * Never cached. 401 challenges with Basic, because that is how a client authenticates at these endpoints.
 */
export function oauthError(refusal: Refusal, context: RefusalContext): WireRefusal {
  const entry = REASONS[refusal.reason]
  const body = {
    ...refusal.data,
    error: entry.oauth,
    error_description: describe(refusal.detail ?? entry.title),
    code: refusal.reason,
    request_id: context.requestId,
    ...(entry.fix === undefined ? {} : { fix: entry.fix }),
  }
  return {
    status: entry.status,
    headers: {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      pragma: 'no-cache',
      'x-caracal-source': context.service,
      ...retryHeader(refusal),
      ...(entry.status === 401 ? { 'www-authenticate': context.authenticate ?? 'Basic realm="caracal", charset="UTF-8"' } : {}),
    },
    body: JSON.stringify(body),
  }
}

/** RFC 6749 §5.2 allows only %x20-21 / %x23-5B / %x5D-7E here. */
function describe(text: string): string {
  return text
    .replaceAll('"', "'")
    .replaceAll('\\', '/')
    .replace(/[^\x20-\x7e]/g, '?')
}
