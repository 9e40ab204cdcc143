import { createHash } from 'node:crypto'
import { type ApplicationId, type Event, newId, type SessionId, type UnixMillis, type ZoneId } from '@caracal/core'

const applications: ApplicationId[] = Array.from({ length: 50 }, () => newId('application'))
const sessions: SessionId[] = Array.from({ length: 500 }, () => newId('session'))
const policy = { set_version: newId('policySetVersion'), rules: ['small-payments'] }
let made = 0

/** What a single-use mandate and the call with it leave: `mandate.issued`, `call.allowed`, `call.finished`; some 770 bytes each. */
export function sampleCycle(zone: ZoneId, now: UnixMillis): Event[] {
  made += 1
  const n = made
  const mandate = { jti: newId('mandate', now), txn: newId('transaction', now), expiry: Math.floor(now / 1_000) + 300 }
  const common = {
    v: 1,
    zone,
    actor: { application: applications[n % applications.length], sessions: [sessions[n % sessions.length]] },
    resource: 'https://payments.example.com/api',
    decision: 'allow',
    policy,
    mandate,
    trace_id: createHash('md5').update(String(n)).digest('hex'),
  } as const
  const call = {
    operation: { method: 'POST', path: `/v1/payments/${n}`, template: '/v1/payments/{id}' },
    service: 'gateway',
    request_id: newId('request', now),
  } as const
  const time = (micros: number) => new Date(now).toISOString().replace('Z', `${String((n * 3 + micros) % 1_000).padStart(3, '0')}Z`)
  return [
    {
      ...common,
      id: newId('event', now),
      time: time(0),
      type: 'mandate.issued',
      service: 'sts',
      scopes: ['payments:write'],
      request_id: newId('request', now),
      details: { grant: 'client_credentials', authentication: 'client_secret_basic', revocation_position: '4711-0', once: true },
    },
    { ...common, ...call, id: newId('event', now), time: time(1), type: 'call.allowed' },
    {
      ...common,
      ...call,
      id: newId('event', now),
      time: time(2),
      type: 'call.finished',
      outcome: {
        status: 200,
        latency_ms: 1 + (n % 100) / 7,
        bytes_in: 1_024,
        bytes_out: 1_024,
        upstream: 'https://payments.internal:8443',
      },
    },
  ] as Event[]
}
