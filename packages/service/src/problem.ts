import { REASONS, type Reason, type Refusal } from '@caracal/core'

/** One thing that is wrong with a request: where it stands and which rule it breaks. Never the value. */
export type Violation = {
  readonly in: 'body' | 'query' | 'header' | 'path'
  /** RFC 6901 pointer into that part. */
  readonly pointer: string
  readonly detail: string
}

/** A refusal on its way to the caller. */
export type WireRefusal = { readonly status: number; readonly headers: Record<string, string>; readonly body: string }

/** What the edge knows beside the refusal. `authenticate` is the WWW-Authenticate value of a 401. */
export type RefusalContext = { readonly service: string; readonly requestId: string; readonly authenticate?: string }

/**
 * RFC 9457 problem document: `type title status code detail request_id`, `fix` where the catalogue has one, and the members
 * of `refusal.data`. 401 carries WWW-Authenticate, what may be retried carries Retry-After (3-wire, Every service).
 */
export function problem(refusal: Refusal, context: RefusalContext): WireRefusal {
  const entry = REASONS[refusal.reason]
  const fix = entry.fix
  const body = {
    ...refusal.data,
    type: problemType(refusal.reason),
    title: entry.title,
    status: entry.status,
    code: refusal.reason,
    ...(refusal.detail === undefined ? {} : { detail: refusal.detail }),
    request_id: context.requestId,
    ...(fix === undefined ? {} : { fix }),
  }
  return {
    status: entry.status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      'x-caracal-source': context.service,
      ...retryHeader(refusal),
      ...(entry.status === 401 ? { 'www-authenticate': context.authenticate ?? 'Bearer realm="caracal"' } : {}),
    },
    body: JSON.stringify(body),
  }
}

/** The stable URI of a reason. */
export function problemType(reason: Reason): string {
  return `urn:caracal:problem:${reason}`
}

/** Retry-After in whole seconds; a refusal may know better than the catalogue through `data.retry_after`. */
export function retryHeader(refusal: Refusal): Record<string, string> {
  const known = refusal.data?.retry_after
  const seconds = typeof known === 'number' ? known : REASONS[refusal.reason].retryAfter
  return seconds === undefined ? {} : { 'retry-after': String(Math.max(1, Math.ceil(seconds))) }
}
