import type { Readable } from 'node:stream'

/**
 * What a handler gives when plain data is not enough: another status, headers, a stream.
 * `body`: a JSON value, or bytes, text or a stream together with `contentType`.
 */
export class Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly contentType: string | undefined
  readonly body: unknown

  constructor(status: number, body: unknown, headers: Readonly<Record<string, string>>, contentType: string | undefined) {
    this.status = status
    this.body = body
    this.headers = headers
    this.contentType = contentType
  }
}

/** JSON with a status and headers of its own, e.g. `answer(201, zone, { location: … , etag: … })`. */
export function answer(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  return new Answer(status, body, headers, undefined)
}

/** Nothing to say: 204. */
export function noContent(headers: Readonly<Record<string, string>> = {}): Answer {
  return new Answer(204, undefined, headers, undefined)
}

/** Bytes, text or a stream as they are. A stream is ended when the service drains and destroyed when the client goes. */
export function raw(
  contentType: string,
  body: string | Uint8Array | Readable | AsyncIterable<string | Uint8Array>,
  options: { readonly status?: number; readonly headers?: Readonly<Record<string, string>> } = {},
): Answer {
  return new Answer(options.status ?? 200, body, options.headers ?? {}, contentType)
}
