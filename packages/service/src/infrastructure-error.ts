import type { Reason } from '@caracal/core'
import { refusedChange, StoreUnavailable } from '@caracal/streams'

/** Socket and name errors of a store that is away. */
const NETWORK = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'EPIPE', 'EHOSTUNREACH', 'ENETUNREACH'])

/** Postgres: connection 08, deadlock 40, resources 53, operator 57, system 58, lock limit. */
const SQLSTATE = /^(?:(?:08|40|53|57|58)[0-9A-Z]{3}|55P03)$/

/** Words of drivers whose errors carry no code. */
const WORDS =
  /^(?:Connection terminated|the database did not answer|Connection is closed|Client has encountered a connection error|timeout exceeded when trying to connect|timeout expired|Query read timeout|Reached the max retries per request limit|LOADING )/

/**
 * Which refusal a thrown error is when it says that infrastructure is away rather than that we have a bug.
 * Everything else is `internal_error`.
 */
export function infrastructureReason(error: unknown): Reason | undefined {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    if (at.name === 'EvidenceUnavailable') return 'evidence_unavailable'
    if (at instanceof StoreUnavailable) return at.reason
    const refused = refusedChange(at)
    if (refused !== undefined) return refused
    const code = 'code' in at && typeof at.code === 'string' ? at.code : ''
    if (NETWORK.has(code) || SQLSTATE.test(code) || WORDS.test(at.message)) return 'store_unavailable'
    if (at instanceof AggregateError) {
      for (const inner of at.errors) {
        const found = infrastructureReason(inner)
        if (found !== undefined) return found
      }
    }
  }
  return undefined
}
