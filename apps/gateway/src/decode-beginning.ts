import { brotliDecompressSync, constants, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib'

/** How much of the encoded bytes is read: with usual ratios about the 64 KiB that are looked through, in a fraction of a millisecond. */
const ENCODED_BYTES = 16 * 1024
const MAX_DECODED_BYTES = 1024 * 1024

/**
 * What the beginning of a compressed body says, for looking only: what is passed on are the bytes as they came. Null when the coding
 * is not known, or when it cannot be decoded; then it is no plain echo either.
 */
export function decodeBeginning(coding: string, parts: readonly Buffer[]): Buffer | null {
  const bytes = Buffer.concat(parts).subarray(0, ENCODED_BYTES)
  const limits = { maxOutputLength: MAX_DECODED_BYTES }
  try {
    switch (coding.trim().toLowerCase()) {
      case 'gzip':
      case 'x-gzip':
        return gunzipSync(bytes, { ...limits, finishFlush: constants.Z_SYNC_FLUSH })
      case 'deflate':
        return inflateSync(bytes, { ...limits, finishFlush: constants.Z_SYNC_FLUSH })
      case 'br':
        return brotliDecompressSync(bytes, { ...limits, finishFlush: constants.BROTLI_OPERATION_FLUSH })
      case 'zstd':
        return zstdDecompressSync(bytes, { ...limits, finishFlush: constants.ZSTD_e_flush })
      default:
        return null
    }
  } catch {
    return null
  }
}
