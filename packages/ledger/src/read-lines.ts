import { createHash } from 'node:crypto'

/** Longest line that is read (bytes); the longest event needs 400 KiB escaped. */
export const MAX_LINE_BYTES = 16 * 1024 * 1024

/** A line without its newline. `text` is absent when it is not UTF-8. `digest`: SHA-256 (hex) of all bytes before the line. */
export type FileLine = { readonly number: number; readonly text: string | undefined; readonly closed: boolean; digest(): string }

/**
 * Splits bytes into lines at newlines only. A last piece without newline comes with `closed: false`.
 * Ends early, with an unclosed line, when a line is longer than is read.
 */
export async function* readLines(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<FileLine> {
  const hash = createHash('sha256')
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let number = 0
  let pieces: Uint8Array[] = []
  let length = 0
  const take = (closed: boolean): FileLine => {
    const bytes = Buffer.concat(pieces)
    pieces = []
    length = 0
    number += 1
    return { number, text: decode(decoder, bytes), closed, digest: () => hash.copy().digest('hex') }
  }
  for await (const chunk of chunks) {
    let at = 0
    for (let newline = chunk.indexOf(0x0a, at); newline >= 0; newline = chunk.indexOf(0x0a, at)) {
      pieces.push(chunk.subarray(at, newline))
      at = newline + 1
      const line = take(true)
      yield line
      // The next line's digest covers this one: the text is the bytes, or the file is refused anyway.
      hash.update(line.text ?? '').update('\n')
    }
    if (at < chunk.length) {
      // Copied, because a stream may reuse its buffer.
      pieces.push(chunk.slice(at))
      length += chunk.length - at
    }
    if (length > MAX_LINE_BYTES) break
  }
  if (length > 0) yield take(false)
}

function decode(decoder: TextDecoder, bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}
