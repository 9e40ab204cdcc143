import { createPublicKey, type KeyObject } from 'node:crypto'
import { decodeBase64, encodeBase64 } from './base64.ts'
import { sha256 } from './hash.ts'

/** Signature type byte of plain Ed25519 (C2SP signed-note). The only one that signs our logs. */
const ED25519 = 0x01
const PUBLIC_KEY_BYTES = 32

/** A key that notes can be checked with. `id` is the key id in 8 hex digits; name and id together name the key. */
export type NoteVerifier = { readonly name: string; readonly id: string; readonly publicKey: KeyObject }

/** A key that signs notes. The private half never leaves this object. */
export type NoteSigner = NoteVerifier & { readonly privateKey: KeyObject }

/** A key name (C2SP signed-note): not empty, no Unicode space, no plus, no control character. */
export function isKeyName(name: string): boolean {
  return name !== '' && name.isWellFormed() && !/[\s\p{White_Space}\p{Cc}+]/u.test(name)
}

/** The verifier of an Ed25519 public key under a name. Throws for another kind of key or a bad name. */
export function noteVerifier(name: string, publicKey: KeyObject): NoteVerifier {
  if (!isKeyName(name)) throw new TypeError('a key name is not empty and has no spaces and no plus')
  return { name, id: keyId(name, rawPublicKey(publicKey)), publicKey }
}

/** The signer of an Ed25519 private key under a name; for a log the name is its origin. Throws as `noteVerifier`. */
export function noteSigner(name: string, privateKey: KeyObject): NoteSigner {
  return { ...noteVerifier(name, createPublicKey(privateKey)), privateKey }
}

/** The verifier key as one pasteable text: `name+id+base64(type ‖ public key)`. */
export function formatVerifierKey(verifier: NoteVerifier): string {
  const typed = new Uint8Array([ED25519, ...rawPublicKey(verifier.publicKey)])
  return `${verifier.name}+${verifier.id}+${encodeBase64(typed)}`
}

/** Reads a verifier key of type Ed25519. `undefined` when it is malformed, of another type, or its id is not that of the key. */
export function parseVerifierKey(text: string): NoteVerifier | undefined {
  const match = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text)
  if (match === null) return undefined
  const [, name = '', id = '', encoded = ''] = match
  const typed = decodeBase64(encoded)
  if (!isKeyName(name) || typed?.length !== 1 + PUBLIC_KEY_BYTES || typed[0] !== ED25519) return undefined
  const raw = typed.subarray(1)
  if (keyId(name, raw) !== id) return undefined
  return {
    name,
    id,
    publicKey: createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(raw).toString('base64url') }, format: 'jwk' }),
  }
}

/** Key id (C2SP signed-note): the first 4 bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key), in hex. */
function keyId(name: string, raw: Uint8Array): string {
  const hashed = sha256(Buffer.concat([Buffer.from(`${name}\n`), Buffer.from([ED25519]), raw]))
  return Buffer.from(hashed.subarray(0, 4)).toString('hex')
}

function rawPublicKey(key: KeyObject): Uint8Array {
  if (key.asymmetricKeyType !== 'ed25519') throw new TypeError('a log is signed with Ed25519')
  const { x } = key.export({ format: 'jwk' })
  if (x === undefined) throw new TypeError('the key has no public half')
  return new Uint8Array(Buffer.from(x, 'base64url'))
}
