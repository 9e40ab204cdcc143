import { describe, expect, test } from 'vitest'
import { isReason, REASONS, type Reason } from './reason.ts'

const reasons = Object.entries(REASONS) as [Reason, (typeof REASONS)[Reason]][]

/** Codes of RFC 6749 §5.2, RFC 6750 §3.1, RFC 8628 §3.5, RFC 8693 §2.2.2, RFC 8707 §2, and `server_error` and `temporarily_unavailable` of RFC 6749 §4.1.2.1. */
const OAUTH = [
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'unsupported_response_type',
  'invalid_scope',
  'invalid_token',
  'insufficient_scope',
  'authorization_pending',
  'slow_down',
  'access_denied',
  'invalid_target',
  'unsupported_token_type',
  'temporarily_unavailable',
  'server_error',
]

describe('reasons', () => {
  test.each(reasons)('%s has a stable form, a registered OAuth code and an error status', (reason, entry) => {
    expect(reason).toMatch(/^[a-z]+(_[a-z]+)*$/)
    expect(OAUTH).toContain(entry.oauth)
    expect(entry.status).toBeGreaterThanOrEqual(400)
    expect(entry.status).toBeLessThan(600)
    expect(entry.title).toMatch(/^[A-Z].*[^.]$/)
    if (entry.fix !== undefined) expect(entry.fix).toMatch(/^[A-Z].*\.$/)
  })

  test('[P-068] whose fault it is agrees: a missing dependency is 5xx and never a credential error, a credential error is 401', () => {
    for (const [reason, { status, oauth, retryAfter }] of reasons) {
      if (oauth === 'temporarily_unavailable' || oauth === 'server_error') expect(status, reason).toBeGreaterThanOrEqual(500)
      if (oauth === 'invalid_token' || oauth === 'invalid_client') expect(status, reason).toBe(401)
      if (status === 401) expect(['invalid_token', 'invalid_client'], reason).toContain(oauth)
      if (status === 503 || status === 429) expect(retryAfter, reason).toBeGreaterThan(0)
    }
  })

  test('only catalogued reasons are reasons', () => {
    expect(reasons.every(([reason]) => isReason(reason))).toBe(true)
    expect(isReason('toString')).toBe(false)
    expect(isReason('')).toBe(false)
  })
})
