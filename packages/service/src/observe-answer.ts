import { SpanStatusCode } from '@opentelemetry/api'
import type { Exchange } from './exchange.ts'
import type { Logger } from './logger.ts'
import { labelled, type Metrics } from './metrics.ts'

/** How an exchange ended. */
export type Answered = {
  /** Template of the row, never the path. */
  readonly route: string
  readonly method: string
  readonly status: number
  readonly seconds: number
}

/** Methods that become a metric label as they are. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Counts, traces and logs what was answered: called once for each exchange, when its answer is out or cannot go out any more. */
export function observeAnswers({ metrics, logger }: { readonly metrics: Metrics; readonly logger: Logger }) {
  const series = labelled(metrics.httpRequestSeconds)
  return (exchange: Exchange, answered: Answered): void => {
    const { route, status, seconds } = answered
    const method = METHODS.has(answered.method) ? answered.method : 'other'
    series(route, method, String(status)).observe(seconds)
    const { span } = exchange
    if (span.isRecording()) {
      span.setAttributes({ 'http.request.method': method, 'http.route': route, 'http.response.status_code': status })
      if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
    }
    span.end()
    const level = status >= 500 ? 'warn' : 'debug'
    if (logger.isLevelEnabled(level)) {
      const fields = { request_id: exchange.id, trace_id: exchange.trace.traceId, method, route, status, ms: Math.round(seconds * 1000) }
      logger[level](fields, 'request')
    }
  }
}
