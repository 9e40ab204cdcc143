import { hkdfSync } from 'node:crypto'
import type { KeyRing, RingKey } from './key-ring.ts'
import { KEY_BYTES } from './weak-key.ts'

/** What a key is derived for. Nothing is made with a configured key itself, so keys of two purposes are unrelated (P-083). */
export const KEY_PURPOSES = {
  sts: 'seals zone keys, peppers and provider secrets',
  ledger: 'seals the log keys',
  'internal-call': 'authenticates calls between services',
  'internal-body': 'encrypts bodies of internal calls that carry a secret',
  evidence: 'authenticates evidence on its way to the ledger',
  streams: 'authenticates messages on streams',
  'mcp-session': 'seals ids of MCP sessions',
  'internal-keys': 'makes the keys between roles where they are not given',
} as const

export type KeyPurpose = keyof typeof KEY_PURPOSES

/**
 * RFC 5869 HKDF-SHA-256: 32 bytes for this purpose and context (for example a zone id). The salt is fixed, for the
 * configured keys are uniform already (RFC 5869 §3.1).
 */
export function deriveKey(key: Uint8Array, purpose: KeyPurpose, context = ''): Buffer {
  const info = `caracal/v1/${purpose}${context === '' ? '' : `/${context}`}`
  return Buffer.from(hkdfSync('sha256', key, 'caracal', info, KEY_BYTES))
}

/** The ring for one purpose. Ids stay those of the configured keys, so that a rotation can be followed by them. */
export function deriveRing(ring: KeyRing, purpose: KeyPurpose, context = ''): KeyRing {
  const derive = (key: RingKey): RingKey => ({ id: key.id, bytes: deriveKey(key.bytes, purpose, context) })
  return { current: derive(ring.current), previous: ring.previous === null ? null : derive(ring.previous) }
}
