import type { IncomingHttpHeaders } from 'node:http'
import type { RequestId, ZoneId } from '@caracal/core'
import type { Span } from '@opentelemetry/api'
import { Departure } from './departure.ts'
import type { ClaimedCall, ProvenCall } from './internal-call/verifier.ts'
import { startServerSpan, type TraceContext } from './trace.ts'
import type { Principal } from './who.ts'

/** What the service knows of a request before its handler runs, whichever way it came in. */
export type Exchange = {
  readonly id: RequestId
  readonly clientRequestId: string | undefined
  /** Address the request came from, through trusted proxies only. */
  readonly source: string
  readonly trace: TraceContext
  readonly span: Span
  readonly gone: Departure
  principal: Principal
  zone: ZoneId | null
  claimed: ClaimedCall | undefined
  proven: ProvenCall | undefined
}

/** A request that was just seen: it has its id and its place in a trace, and nobody has been authenticated. */
export function openExchange(id: RequestId, source: string, headers: IncomingHttpHeaders, spanName: () => string): Exchange {
  const { at, span } = startServerSpan(one(headers.traceparent), spanName)
  return {
    id,
    clientRequestId: printable(one(headers['x-request-id'])),
    source,
    trace: at,
    span,
    gone: new Departure(),
    principal: { kind: 'anyone' },
    zone: null,
    claimed: undefined,
    proven: undefined,
  }
}

function one(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined
}

/** The caller's request id is only kept when it cannot break a log line or a header. */
function printable(text: string | undefined): string | undefined {
  return text !== undefined && /^[\x21-\x7e]{1,128}$/.test(text) ? text : undefined
}
