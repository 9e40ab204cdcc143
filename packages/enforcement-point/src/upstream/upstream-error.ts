import { type Reason, type Refusal, refuse } from '@caracal/core'
import { EgressError } from '@caracal/service'
import { UploadError } from '../exchange/upload-body.ts'

/** What became of a call that got no proper answer, and whether it says something about the upstream's health. */
export type UpstreamFault = {
  readonly refusal: Refusal
  readonly health: 'connect' | 'answer' | null
  /** The connection ended before the call was answered: worth one more try when nothing can have happened twice. */
  readonly retryable: boolean
}

/** Reads an error of the pool. Its text stays here: it may name addresses (P-068). */
export function upstreamFault(error: unknown): UpstreamFault {
  if (error instanceof UploadError) return fault(error.reason)
  if (error instanceof EgressError) return fault(error.reason, error.message, error.reason === 'upstream_not_allowed' ? null : 'connect')
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (error instanceof Error && error.name === 'HTTPParserError') return fault('upstream_protocol_error', undefined, 'answer')
  switch (code) {
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
      return fault('upstream_timeout', undefined, 'answer')
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
    case 'UND_ERR_HEADERS_OVERFLOW':
      return fault('upstream_protocol_error', undefined, 'answer')
    case 'UND_ERR_SOCKET':
      // The pool also uses it for answers that cannot be one: an upgrade or a Continue that nobody asked for.
      return error instanceof Error && error.message.startsWith('bad ')
        ? fault('upstream_protocol_error', undefined, 'answer')
        : { ...fault('upstream_unreachable', 'the upstream closed the connection', 'answer'), retryable: true }
    case 'ECONNRESET':
    case 'EPIPE':
      return { ...fault('upstream_unreachable', 'the upstream closed the connection', 'answer'), retryable: true }
    case 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH':
    case 'UND_ERR_INVALID_ARG':
    case 'UND_ERR_NOT_SUPPORTED':
      return fault('invalid_request', 'the request cannot be forwarded as it is')
    case 'UND_ERR_DESTROYED':
    case 'UND_ERR_CLOSED':
      return fault('draining')
    default:
      return fault('upstream_unreachable', undefined, 'answer')
  }
}

function fault(reason: Reason, detail?: string, health: UpstreamFault['health'] = null): UpstreamFault {
  return { refusal: refuse(reason, detail), health, retryable: false }
}
