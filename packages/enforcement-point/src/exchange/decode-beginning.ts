import { brotliDecompressSync, constants, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib'

/** How much of the encoded bytes is read: with usual ratios about the 64 KiB that are looked through, in a fraction of a millisecond. */
export const ENCODED_BYTES = 16 * 1024
const MAX_DECODED_BYTES = 1024 * 1024
/** More codings on top of each other than any server applies. */
const MOST_CODINGS = 3

/**
 * What the beginning of a compressed body says, for looking only: what is passed on are the bytes as they came. `coding` is a
 * Content-Encoding; several are undone in their order. Null when one is not known, or when it cannot be decoded; then it is no plain
 * echo either. Of what grows beyond a megabyte as much is decoded as stays below it.
 */
export function decodeBeginning(coding: string, parts: readonly Buffer[]): Buffer | null {
  const codings = coding.split(',').map((name) => name.trim().toLowerCase())
  if (codings.length > MOST_CODINGS) return null
  let bytes: Buffer | null = Buffer.concat(parts).subarray(0, ENCODED_BYTES)
  for (const name of codings.reverse()) if (bytes !== null && name !== 'identity') bytes = decodeOne(name, bytes)
  return bytes
}

function decodeOne(coding: string, bytes: Buffer): Buffer | null {
  for (let length = bytes.length; length > 0; length = Math.floor(length / 2)) {
    try {
      return decode(coding, bytes.subarray(0, length))
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE')) return null
    }
  }
  return null
}

function decode(coding: string, bytes: Buffer): Buffer | null {
  const maxOutputLength = MAX_DECODED_BYTES
  switch (coding) {
    case 'gzip':
    case 'x-gzip':
      return gunzipSync(bytes, { maxOutputLength, finishFlush: constants.Z_SYNC_FLUSH })
    case 'deflate':
      // RFC 9110 §8.4.1.2: some send it without its wrapper.
      return ((bytes[0] ?? 0) & 0x0f) === 8
        ? inflateSync(bytes, { maxOutputLength, finishFlush: constants.Z_SYNC_FLUSH })
        : inflateRawSync(bytes, { maxOutputLength, finishFlush: constants.Z_SYNC_FLUSH })
    case 'br':
      return brotliDecompressSync(bytes, { maxOutputLength, finishFlush: constants.BROTLI_OPERATION_FLUSH })
    case 'zstd':
      return zstdDecompressSync(bytes, { maxOutputLength, finishFlush: constants.ZSTD_e_flush })
    default:
      return null
  }
}
