import type { ServerResponse } from 'node:http'
import { hasBody } from './upload-body.ts'

/** How long a client may go on sending after it was answered. Milliseconds. */
const LINGER_MS = 1_000

/**
 * After an answer that came before the whole request: what is still coming is read and thrown away for a moment, so that the client gets
 * to see the answer (closing at once would reset the connection under it, RFC 9112 §9.6), then the connection is dropped. One
 * whose request ends in time stays usable.
 */
export function lingerThenClose(response: ServerResponse): void {
  const { req } = response
  if (!hasBody(req) || req.complete) return
  const { socket } = req
  const linger = () => {
    const drop = setTimeout(() => socket.destroy(), LINGER_MS)
    drop.unref()
    req.once('close', () => clearTimeout(drop))
  }
  if (response.writableFinished) linger()
  else response.once('finish', linger)
  req.on('error', () => {})
  req.resume()
}
