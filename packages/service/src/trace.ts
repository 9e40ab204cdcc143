import { randomBytes } from 'node:crypto'
import { context, type Span, SpanKind, trace } from '@opentelemetry/api'

/** W3C Trace Context: where this request stands in its trace. */
export type TraceContext = {
  /** 32 hex digits. */
  readonly traceId: string
  /** 16 hex digits: our own span, the parent of whatever we call. */
  readonly spanId: string
  readonly sampled: boolean
}

/** Finds the registered SDK by itself, whenever that is registered. */
const tracer = trace.getTracer('caracal')

/** Drawn in blocks: a system call for each request would show. */
const pool = { hex: '', at: 0 }

function randomHex(bytes: number): string {
  if (pool.at + 2 * bytes > pool.hex.length) {
    pool.hex = randomBytes(4_096).toString('hex')
    pool.at = 0
  }
  pool.at += 2 * bytes
  return pool.hex.slice(pool.at - 2 * bytes, pool.at)
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** A valid `traceparent`, or undefined (P-148). Version ff, zero ids and, for version 00, anything appended are refused. */
export function parseTraceparent(header: string | undefined): { traceId: string; parentId: string; sampled: boolean } | undefined {
  const found = header === undefined ? null : TRACEPARENT.exec(header)
  if (found === null) return undefined
  const [, version = '', traceId = '', parentId = '', flags = '', rest] = found
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return undefined
  return { traceId, parentId, sampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

export function formatTraceparent(at: TraceContext): string {
  return `00-${at.traceId}-${at.spanId}-${at.sampled ? '01' : '00'}`
}

/**
 * Continues the caller's trace or begins one, and starts the server span. Without a registered OpenTelemetry SDK the span
 * records nothing, but ids still flow to logs, evidence and the next hop.
 */
export function startServerSpan(traceparent: string | undefined, name: () => string): { readonly at: TraceContext; readonly span: Span } {
  const incoming = parseTraceparent(traceparent)
  const parent =
    incoming === undefined
      ? context.active()
      : trace.setSpanContext(context.active(), {
          traceId: incoming.traceId,
          spanId: incoming.parentId,
          traceFlags: incoming.sampled ? 1 : 0,
          isRemote: true,
        })
  const span = tracer.startSpan(name(), { kind: SpanKind.SERVER }, parent)
  const own = span.spanContext()
  const recorded = span.isRecording()
  const traceId = recorded ? own.traceId : (incoming?.traceId ?? randomHex(16))
  const spanId = recorded ? own.spanId : randomHex(8)
  return { at: { traceId, spanId, sampled: recorded ? (own.traceFlags & 1) === 1 : (incoming?.sampled ?? false) }, span }
}
