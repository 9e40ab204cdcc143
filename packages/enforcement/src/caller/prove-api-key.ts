import { hash, timingSafeEqual } from 'node:crypto'
import { idOfApiKey, ok, type Result, refuse, type UnixMillis } from '@caracal/core'
import type { CallerDirectory } from './caller-directory.ts'
import { type CallerProver, type CallerRefusal, onlyHeader, type Presentation, type ProvenCaller } from './proven-caller.ts'

/** Compared with when there is no such key, so that it takes as long as when there is. */
const NOBODY = Buffer.alloc(32)

/**
 * `AUTH_MODE=api_key`: `X-API-Key: ck_<id>_<secret>`. One lookup and one digest, whatever the key is (P-074): an unknown id, another
 * secret and an expired key take as long as each other and are refused alike.
 */
export function apiKeyProver(directory: CallerDirectory): CallerProver {
  function look(presented: Presentation, now: UnixMillis): Result<ProvenCaller, CallerRefusal> {
    const text = onlyHeader(presented.rawHeaders, 'x-api-key')
    if (text === undefined || text === '') return refuse('unauthenticated', 'X-API-Key is required')
    if (text === null) return refuse('invalid_request', 'X-API-Key stands more than once')
    const id = idOfApiKey(text)
    const key = id === undefined ? undefined : directory.apiKey(id)
    const same = timingSafeEqual(hash('sha256', text, 'buffer'), key?.digestBytes ?? NOBODY)
    const expired = key !== undefined && key.expiresAt !== null && key.expiresAt <= now
    if (key === undefined || !same || expired) return refuse('invalid_client')
    return ok({
      zone: key.zone,
      application: key.application,
      credential: { kind: 'api_key', id: key.id },
      expiresAt: key.expiresAt === null ? null : key.expiresAt / 1000,
      use: null,
    })
  }

  return {
    async prove(presented, now) {
      const found = look(presented, now)
      if (found.ok || found.reason !== 'invalid_client') return found
      await directory.refresh()
      return look(presented, now)
    },
    knows: (presented, now) => look(presented, now).ok,
    zone(presented) {
      const id = idOfApiKey(onlyHeader(presented.rawHeaders, 'x-api-key') ?? '')
      return (id === undefined ? undefined : directory.apiKey(id)?.zone) ?? directory.onlyZone()
    },
    challenge: 'ApiKey realm="caracal", header="X-API-Key"',
  }
}
