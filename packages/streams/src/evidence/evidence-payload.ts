import { findKey, type KeyRing, MAX_EVENT_BYTES, macText, verifyMacText } from '@caracal/core'

/** Events that one producer made in one go. A service's own outbox has no numbers: `first` is `null` there. */
export type EvidenceGroup = {
  readonly producer: string
  /** The number of the first event at its producer; the others follow without a gap. */
  readonly first: number | null
  /** Canonical texts; their UTF-8 bytes are the leaves. Empty where the producer lost the record on its volume. */
  readonly events: readonly string[]
}

/** The groups of a message of `caracal.audit.events`, once their producers are known to have made them. */
export type VerifiedEvidence =
  | { readonly ok: true; readonly value: readonly EvidenceGroup[] }
  | { readonly ok: false; readonly problem: string }

/** Most events of one group. */
export const MAX_GROUP_EVENTS = 256
/** A group is closed before its texts would be longer; an event of 64 KiB fits in any case. Bytes. */
export const MAX_GROUP_BYTES = 256 * 1024
/** Groups travel together up to this length. Bytes. */
export const MAX_MESSAGE_BYTES = 1024 * 1024

/** Producer, number, count, key, MAC. */
const HEADER = /^([\w.-]{1,128}) (-|[1-9]\d{0,15}) ([1-9]\d{0,2}) ([0-9a-f]{1,64}) ([\w-]{1,128})$/

/**
 * The text of a group, authenticated once, when it is made, and never again (P-100): a line of producer, number, count, key id and
 * MAC, then one line for each event. Canonical JSON holds no raw line break, so nothing needs escaping. The MAC is an HMAC over
 * the length-prefixed fields of the first line and the exact lines that follow. Groups set one after the other are a message.
 * @throws TypeError for an event with a line break, a producer with a space, or more than 256 events.
 */
export function evidencePayload(keys: KeyRing, { producer, first, events }: EvidenceGroup): string {
  let body = ''
  for (const event of events) {
    if (event.includes('\n')) throw new TypeError('canonical JSON has no line break')
    body += `${event}\n`
  }
  const key = keys.current.id
  const fields = [producer, first === null ? '-' : String(first), String(events.length), key]
  const header = `${fields.join(' ')} ${macText(keys, authenticated(fields, body))}`
  if (!HEADER.test(header) || events.length > MAX_GROUP_EVENTS) throw new TypeError('there is no such group of events')
  return `${header}\n${body}`
}

/**
 * Checks who made every group of a message; what the events say is not looked at. A message of version 1, which an outbox, a stream
 * or a spool may still hold after an upgrade, is a group of one. Never throws.
 */
export function verifyEvidence(payload: string, keys: KeyRing): VerifiedEvidence {
  if (payload.length > MAX_MESSAGE_BYTES) return wrong('too_large')
  if (payload === '') return wrong('malformed_message')
  if (isVersion1(payload)) return verifyVersion1(payload, keys)
  const groups: EvidenceGroup[] = []
  for (let at = 0; at < payload.length; ) {
    const headerEnd = payload.indexOf('\n', at)
    const header = headerEnd === -1 ? null : HEADER.exec(payload.slice(at, headerEnd))
    if (header === null) return wrong('malformed_message')
    const [, producer = '', number = '', count = '', key = '', mac = ''] = header
    const first = number === '-' ? null : Number(number)
    if (Number(count) > MAX_GROUP_EVENTS || (first !== null && !Number.isSafeInteger(first + Number(count))))
      return wrong('malformed_message')
    const events: string[] = []
    let end = headerEnd + 1
    for (let left = Number(count); left > 0; left -= 1) {
      const lineEnd = payload.indexOf('\n', end)
      if (lineEnd === -1) return wrong('malformed_message')
      events.push(payload.slice(end, lineEnd))
      end = lineEnd + 1
    }
    if (findKey(keys, key) === null) return wrong('unknown_key')
    const body = payload.slice(headerEnd + 1, end)
    if (!verifyMacText(keys, authenticated([producer, number, count, key], body), mac)) return wrong('not_authentic')
    if (body.length > MAX_EVENT_BYTES / 4 && events.some((event) => Buffer.byteLength(event) > MAX_EVENT_BYTES)) return wrong('too_large')
    groups.push({ producer, first, events })
    at = end
  }
  return { ok: true, value: groups }
}

/** Version 1 is one JSON object; the name of a producer has no brace. Such a message stands alone and is never among groups. */
export function isVersion1(payload: string): boolean {
  return payload.startsWith('{')
}

/** Version 1: one event, its text inside JSON, its MAC over key id, producer, number and text. Nobody writes it any more. */
function verifyVersion1(payload: string, keys: KeyRing): VerifiedEvidence {
  let message: unknown
  try {
    message = JSON.parse(payload)
  } catch {
    return wrong('malformed_message')
  }
  const { producer, seq, key, mac, event } = message as Record<string, unknown>
  if (typeof producer !== 'string' || typeof key !== 'string' || typeof mac !== 'string' || typeof event !== 'string')
    return wrong('malformed_message')
  if (seq !== null && !(typeof seq === 'number' && Number.isSafeInteger(seq) && seq > 0)) return wrong('malformed_message')
  if (findKey(keys, key) === null) return wrong('unknown_key')
  const fields = ['caracal.evidence', key, producer, seq === null ? '' : String(seq), event]
  if (!verifyMacText(keys, fields, mac)) return wrong('not_authentic')
  if (Buffer.byteLength(event) > MAX_EVENT_BYTES) return wrong('too_large')
  return { ok: true, value: [{ producer, first: seq, events: [event] }] }
}

function authenticated(fields: readonly string[], body: string): readonly string[] {
  return ['caracal.evidence', ...fields, body]
}

function wrong(problem: string): VerifiedEvidence {
  return { ok: false, problem }
}
