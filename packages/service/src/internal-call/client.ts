import { randomBytes } from 'node:crypto'
import { type Clock, isReason, type KeyRing, ok, type Reason, type Result, refuse } from '@caracal/core'
import type { Static, TSchema } from 'typebox'
import { Pool } from 'undici'
import { type Validate, validator } from '../validate.ts'
import {
  answerContext,
  answerKey,
  CALLER,
  NONCE,
  openBody,
  requestContext,
  SEALED_TYPE,
  SIGNATURE,
  sealBody,
  signRequest,
  TIMESTAMP,
} from './signature.ts'

export type CallOptions<S extends TSchema> = {
  /** What the answer must be. Members it does not name are let through: the other side may be newer. */
  readonly reply: S
  /** The row carries secrets: both bodies are encrypted. */
  readonly sealed?: boolean
  readonly timeoutMs?: number
  readonly traceparent?: string
  readonly signal?: AbortSignal
}

export type InternalClient = {
  /** POSTs JSON. Refusals are those of the other side, or `unavailable` when it does not answer or its answer is not proven. */
  call<S extends TSchema>(path: string, body: unknown, options: CallOptions<S>): Promise<Result<Static<S>>>
  close(): Promise<void>
}

/** Largest answer that is read: a snapshot of many zones. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024

/** A client for `/internal/*` of another role: long-lived connections, signed requests, signed answers, typed refusals. */
export function createInternalClient(options: {
  readonly baseUrl: string
  readonly caller: string
  readonly keys: () => KeyRing
  /** What it is called when the other side is away. */
  readonly unavailable?: Reason
  readonly timeoutMs?: number
  readonly connections?: number
  readonly now?: Clock
}): InternalClient {
  const base = new URL(options.baseUrl)
  const prefix = base.pathname.replace(/\/$/, '')
  const unavailable = options.unavailable ?? 'sts_unavailable'
  const now = options.now ?? Date.now
  const pool = new Pool(base.origin, {
    connections: options.connections ?? 32,
    connect: { timeout: 2_000 },
    keepAliveTimeout: 4_000,
  })
  const validators = new WeakMap<TSchema, Validate>()
  const validate = (schema: TSchema, value: unknown) => {
    const known = validators.get(schema) ?? validator(schema, 'body', { convert: false, open: true })
    validators.set(schema, known)
    return known(value)
  }

  return {
    async call(path, body, { reply, sealed = false, timeoutMs = options.timeoutMs ?? 5_000, traceparent, signal }) {
      const key = options.keys().current
      const target = prefix + path
      const parts = {
        caller: options.caller,
        method: 'POST',
        path: target,
        timestamp: String(now()),
        nonce: randomBytes(18).toString('base64url'),
      }
      const plain = Buffer.from(JSON.stringify(body))
      const bytes = sealed ? sealBody(key, requestContext(parts), plain) : plain
      const limit = AbortSignal.timeout(timeoutMs)
      let status: number
      let answer: Buffer
      let signature: string | string[] | undefined
      try {
        const response = await pool.request({
          method: 'POST',
          path: target,
          headers: {
            'content-type': sealed ? SEALED_TYPE : 'application/json',
            accept: 'application/json',
            [CALLER]: parts.caller,
            [TIMESTAMP]: parts.timestamp,
            [NONCE]: parts.nonce,
            [SIGNATURE]: signRequest(key, parts, bytes),
            ...(traceparent === undefined ? {} : { traceparent }),
          },
          body: bytes,
          signal: signal === undefined ? limit : AbortSignal.any([limit, signal]),
        })
        status = response.statusCode
        signature = response.headers[SIGNATURE]
        answer = await readCapped(response.body, MAX_ANSWER_BYTES)
      } catch {
        return refuse(unavailable)
      }
      const proven = typeof signature === 'string' ? answerKey(options.keys(), parts.nonce, status, answer, signature) : undefined
      if (status < 200 || status >= 300) return refusalOf(answer, unavailable)
      if (proven === undefined) return refuse(unavailable, 'the answer is not signed')
      const opened = sealed ? openBody(proven, answerContext(parts.nonce, status), answer) : answer
      if (opened === undefined) return refuse(unavailable, 'the answer is not sealed')
      const checked = validate(reply, opened.length === 0 ? undefined : parseJson(opened))
      return checked.ok ? ok(checked.value as Static<typeof reply>) : refuse(unavailable, 'the answer has another shape than expected')
    },
    close: () => pool.close(),
  }
}

async function readCapped(body: AsyncIterable<Buffer>, most: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > most) throw new Error('the answer is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** The other side's own words when they are in the catalogue; a body from something in between is not. */
function refusalOf(answer: Buffer, unavailable: Reason): Result<never> {
  const body = parseJson(answer)
  if (typeof body !== 'object' || body === null || !('code' in body) || typeof body.code !== 'string' || !isReason(body.code)) {
    return refuse(unavailable)
  }
  const { type: _type, title: _title, status: _status, code, detail, request_id: _id, fix: _fix, ...data } = body as Record<string, unknown>
  return refuse(code as Reason, typeof detail === 'string' ? detail : undefined, Object.keys(data).length === 0 ? undefined : data)
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    return undefined
  }
}
