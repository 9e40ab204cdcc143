import { ok, type Result, refuse } from '@caracal/core'
import { EgressError, type EgressGuard, type EgressRefusal, type EgressRules } from '@caracal/service'
import { Client } from 'undici'

export type EgressCall = {
  readonly url: string
  readonly method: 'GET' | 'POST'
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly rules: EgressRules
  /** For the whole call. Milliseconds; 5 000. */
  readonly timeoutMs?: number
  /** Bytes of the answer; 256 KiB. */
  readonly maxBytes?: number
}

export type EgressAnswer = {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

/**
 * One small call to something outside (token endpoint, keys, metadata) through the guard: no redirect is followed, the answer is
 * capped, the connection is not kept (P-080). The URL must be http or https and carry no credentials.
 */
export async function egressCall(
  guard: EgressGuard,
  call: EgressCall,
): Promise<Result<EgressAnswer, EgressRefusal | 'upstream_protocol_error'>> {
  const url = new URL(call.url)
  const isHttp = url.protocol === 'https:' || url.protocol === 'http:'
  if (!isHttp || url.username !== '' || url.password !== '')
    return refuse('upstream_not_allowed', 'the URL is not a plain http or https URL')
  const client = new Client(url.origin, {
    connect: guard.connector(call.rules),
    maxResponseSize: call.maxBytes ?? 256 * 1024,
    pipelining: 0,
  })
  try {
    const answer = await client.request({
      path: url.pathname + url.search,
      method: call.method,
      headers: call.headers,
      ...(call.body === undefined ? {} : { body: call.body }),
      signal: AbortSignal.timeout(call.timeoutMs ?? 5_000),
    })
    return ok({ status: answer.statusCode, headers: answer.headers, body: Buffer.from(await answer.body.arrayBuffer()) })
  } catch (error) {
    if (error instanceof EgressError) return refuse(error.reason, error.message)
    if (error instanceof Error && error.name === 'TimeoutError') return refuse('upstream_timeout')
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    return refuse(code.startsWith('HPE_') || code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE' ? 'upstream_protocol_error' : 'upstream_unreachable')
  } finally {
    await client.destroy()
  }
}
