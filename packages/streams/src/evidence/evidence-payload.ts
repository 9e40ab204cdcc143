import { findKey, type KeyRing, MAX_EVENT_BYTES, macText, verifyMacText } from '@caracal/core'

/** Who made an event, and its number there; `null` where a transaction and not a spool keeps it (outbox). */
export type EvidenceOrigin = { readonly producer: string; readonly seq: number | null }

/** What a message of `caracal.audit.events` says, once its producer is known to have said it. */
export type EvidenceMessage = EvidenceOrigin & {
  /** The canonical text of the event; its UTF-8 bytes are the leaf. Empty when the producer lost this record on its volume. */
  readonly event: string
}

export type VerifiedEvidence = { readonly ok: true; readonly value: EvidenceMessage } | { readonly ok: false; readonly problem: string }

/** Enough for an event of 64 KiB of which every character is escaped once more. */
const MAX_PAYLOAD_CHARACTERS = 3 * MAX_EVENT_BYTES

/**
 * The payload of one event, authenticated once, when it is made, and never again (P-100): HMAC over length-prefixed key id,
 * producer, number and canonical text.
 */
export function evidencePayload(keys: KeyRing, { producer, seq, event }: EvidenceMessage): string {
  const key = keys.current.id
  return JSON.stringify({ producer, seq, key, mac: macText(keys, fields(key, { producer, seq, event })), event })
}

/** Checks who made it; what the event says is not looked at. Never throws. */
export function verifyEvidence(payload: string, keys: KeyRing): VerifiedEvidence {
  if (payload.length > MAX_PAYLOAD_CHARACTERS) return { ok: false, problem: 'too_large' }
  const message = parse(payload)
  if (!message) return { ok: false, problem: 'malformed_message' }
  const { key, mac, ...value } = message
  if (findKey(keys, key) === null) return { ok: false, problem: 'unknown_key' }
  if (!verifyMacText(keys, fields(key, value), mac)) return { ok: false, problem: 'not_authentic' }
  if (Buffer.byteLength(value.event) > MAX_EVENT_BYTES) return { ok: false, problem: 'too_large' }
  return { ok: true, value }
}

function parse(payload: string): (EvidenceMessage & { readonly key: string; readonly mac: string }) | undefined {
  let value: unknown
  try {
    value = JSON.parse(payload)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { producer, seq, key, mac, event } = value as Record<string, unknown>
  if (typeof producer !== 'string' || typeof key !== 'string' || typeof mac !== 'string' || typeof event !== 'string') return undefined
  if (seq !== null && !(typeof seq === 'number' && Number.isSafeInteger(seq) && seq > 0)) return undefined
  return { producer, seq, key, mac, event }
}

function fields(key: string, { producer, seq, event }: EvidenceMessage): readonly string[] {
  return ['caracal.evidence', key, producer, seq === null ? '' : String(seq), event]
}
