import type { Refusal, ZoneId } from '@caracal/core'
import type { Database } from '@caracal/postgres'
import { type Cursors, problem, type RefusalContext, type WireRefusal } from '@caracal/service'
import type { Streams } from '@caracal/streams'
import type { Checkpointer } from '../checkpoint/checkpointer.ts'
import type { LogKeySettings } from '../keys/log-key.ts'
import type { AuditMetrics } from '../metrics.ts'
import type { ReadRecorder } from '../reading/record-reads.ts'

/** What the routes work with. */
export type AuditDesk = {
  readonly database: Database
  readonly streams: Streams
  readonly checkpoints: Checkpointer
  readonly settings: LogKeySettings
  readonly reads: ReadRecorder
  readonly cursors: Cursors
  readonly metrics: AuditMetrics
}

/** Zone of a row with `:zone` in its path. */
export function zoneOf(request: { readonly zone: ZoneId | null }): ZoneId {
  if (request.zone === null) throw new Error('the row has no zone')
  return request.zone
}

/** A filter that cannot be read is a bad request (400), as in every query language: there is no body whose fields could be wrong. */
export function badQuery(refusal: Refusal, context: RefusalContext): WireRefusal {
  return problem(refusal.reason === 'validation_failed' ? { ...refusal, reason: 'invalid_request' } : refusal, context)
}

/** A size or index in a query: one spelling, because the conversion of numbers would cut a fraction off. */
export const WHOLE_NUMBER = { pattern: '^(?:0|[1-9][0-9]{0,14})$' }
