import { sign, verify } from 'node:crypto'
import { decodeBase64, encodeBase64 } from './base64.ts'
import { isKeyName, type NoteSigner, type NoteVerifier } from './note-key.ts'

/** A note longer than this (UTF-16 units) or with more signatures is refused before any work is done on it. */
const MAX_NOTE_LENGTH = 65_536
const MAX_SIGNATURES = 64
const KEY_ID_BYTES = 4

export type NoteSignature = { readonly name: string; readonly id: string; readonly signature: Uint8Array }

/** A note taken apart, nothing verified yet. `text` ends with a newline and is what the signatures cover. */
export type Note = { readonly text: string; readonly signatures: readonly NoteSignature[] }

/**
 * What became of a note's signatures. `unknown_key`: no signature by a known key (those of unknown keys are ignored, as
 * C2SP signed-note demands). `bad_signature`: one that claims to be by a known key is not; the whole note is refused.
 */
export type NoteVerdict =
  | { readonly ok: true; readonly by: readonly NoteVerifier[] }
  | { readonly ok: false; readonly problem: 'unknown_key' | 'bad_signature' }

/** Signs a text by each signer (C2SP signed-note). Throws unless the text ends with a newline and has no other control characters. */
export function signNote(text: string, signers: readonly NoteSigner[]): string {
  if (!isNoteText(text)) throw new TypeError('a note text ends with a newline and has no other control characters')
  if (signers.length === 0) throw new TypeError('a note needs a signer')
  return `${text}\n${signers.map((signer) => signatureLine(text, signer)).join('')}`
}

/** Adds a signature to a note that stands: a witness, or the next key of the log. Throws when the note is malformed. */
export function cosignNote(note: string, signer: NoteSigner): string {
  const parsed = parseNote(note)
  if (parsed === undefined) throw new TypeError('the note is malformed')
  return `${note}${signatureLine(parsed.text, signer)}`
}

/** Takes a note apart, strictly. `undefined` when anything deviates from C2SP signed-note. */
export function parseNote(note: string): Note | undefined {
  if (note.length > MAX_NOTE_LENGTH || !isNoteText(note)) return undefined
  const blank = note.lastIndexOf('\n\n')
  if (blank <= 0) return undefined
  const lines = note.slice(blank + 2, -1).split('\n')
  if (lines.length > MAX_SIGNATURES) return undefined
  const signatures: NoteSignature[] = []
  for (const line of lines) {
    const signature = parseSignatureLine(line)
    if (signature === undefined) return undefined
    signatures.push(signature)
  }
  return { text: note.slice(0, blank + 1), signatures }
}

/** Checks every signature by a known key: at least one must be there, and none may be bad. */
export function verifyNote(note: Note, known: readonly NoteVerifier[]): NoteVerdict {
  const by = new Set<NoteVerifier>()
  for (const { name, id, signature } of note.signatures) {
    for (const key of known.filter((k) => k.name === name && k.id === id)) {
      if (!verify(null, Buffer.from(note.text), key.publicKey, signature)) return { ok: false, problem: 'bad_signature' }
      by.add(key)
    }
  }
  return by.size === 0 ? { ok: false, problem: 'unknown_key' } : { ok: true, by: [...by] }
}

function signatureLine(text: string, signer: NoteSigner): string {
  const signature = sign(null, Buffer.from(text), signer.privateKey)
  return `— ${signer.name} ${encodeBase64(Buffer.concat([Buffer.from(signer.id, 'hex'), signature]))}\n`
}

function parseSignatureLine(line: string): NoteSignature | undefined {
  const [dash, name, encoded, ...more] = line.split(' ')
  if (dash !== '—' || name === undefined || encoded === undefined || more.length > 0 || !isKeyName(name)) return undefined
  const bytes = decodeBase64(encoded)
  if (bytes === undefined || bytes.length <= KEY_ID_BYTES) return undefined
  return { name, id: Buffer.from(bytes.subarray(0, KEY_ID_BYTES)).toString('hex'), signature: bytes.subarray(KEY_ID_BYTES) }
}

function isNoteText(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text.endsWith('\n') && text.isWellFormed() && !/[\u0000-\u0009\u000b-\u001f]/.test(text)
}
