/** Standard base64 with padding (RFC 4648 §4), as notes and bundles carry hashes and signatures. */
export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

/** Reads only the one canonical spelling of the bytes: no whitespace, no missing padding, no stray bits. */
export function decodeBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? new Uint8Array(bytes) : undefined
}
