import { isId, ok, type Refusal, type Result, refuse, type ZoneId } from '@caracal/core'
import { inZone } from '@caracal/postgres'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Answer } from './answer.ts'
import type { Authenticator } from './authenticator.ts'
import type { Exchange } from './exchange.ts'
import { isFormBody } from './form.ts'
import { fingerprint, type IdempotencyClaim, type IdempotencyStore, idempotencyKey, type KeptAnswer } from './idempotency.ts'
import type { InternalVerifier } from './internal-call/verifier.ts'
import type { RefusalContext } from './problem.ts'
import { checkMediaType, MAX_BODY_BYTES, readBody, readQuery } from './read-request.ts'
import type { RouteRow } from './route.ts'
import { RouteCall } from './route-call.ts'
import { jsonText, sendAnswer, sendRefusal } from './send-answer.ts'
import { type Validate, validator } from './validate.ts'
import { authorize, principalKey } from './who.ts'

declare module 'fastify' {
  interface FastifyRequest {
    exchange: Exchange
  }
}

export type RouteSurroundings = {
  readonly service: string
  readonly authenticator: Authenticator
  readonly internal: InternalVerifier | undefined
  readonly idempotency: IdempotencyStore | undefined
  /** The id behind `:zone`; null when there is none. */
  readonly resolveZone: (text: string) => ZoneId | null | Promise<ZoneId | null>
  /** In `dev`: an answer that is not what its row promises is a bug and becomes a 500. */
  readonly checkReplies: boolean
  readonly draining: AbortSignal
}

export type ServedRoute = {
  /** Everything that needs no body; an answer was sent when it returns false. */
  readonly admit: (request: FastifyRequest, reply: FastifyReply) => Promise<boolean>
  readonly serve: (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>
  readonly maxBodyBytes: number
}

/** One row at work: authenticate, authorise, read, validate, handle, answer, in that order. */
export function serveRoute(row: RouteRow, around: RouteSurroundings): ServedRoute {
  const params = row.params === undefined ? undefined : validator(row.params, 'path', { convert: true })
  const query = row.query === undefined ? undefined : validator(row.query, 'query', { convert: true })
  const body = row.body === undefined || isFormBody(row.body) ? undefined : validator(row.body, 'body', { convert: false })
  const checkReply = around.checkReplies ? replyCheck(row) : undefined
  const open = row.who.some((who) => who.kind === 'anyone')
  const callers = row.who.flatMap((who) => (who.kind === 'internal' ? who.callers : []))

  const admit = async (request: FastifyRequest): Promise<Result<void>> => {
    const { exchange } = request
    // Also where a handler reads the credential itself: of two, somebody on the way may have looked at the other one.
    if (isRepeated(request.raw.rawHeaders, 'authorization')) return refuse('invalid_request', 'Authorization stands more than once')
    if (!open) {
      const found = await authenticate(request)
      if (!found.ok) return found
    }
    const zoneText = (request.params as Record<string, string>).zone
    if (zoneText !== undefined) {
      exchange.zone = await around.resolveZone(zoneText)
      // A caller for whom every zone is foreign learns nothing from a zone that does not exist.
      if (exchange.zone === null) return refuse('not_found')
    }
    if (!open) {
      const verdict = authorize(row.who, exchange.principal, exchange.zone)
      if (verdict !== 'allowed') return refuse(verdict === 'foreign' ? 'not_found' : 'forbidden')
    }
    return checkMediaType(row, request)
  }

  const authenticate = async (request: FastifyRequest): Promise<Result<void>> => {
    const { exchange } = request
    if (callers.length > 0 && around.internal !== undefined) {
      const claimed = around.internal.claim(request.headers, request.method, request.raw.url ?? '', callers)
      if (claimed.ok) {
        exchange.claimed = claimed.value
        exchange.principal = { kind: 'internal', caller: claimed.value.caller }
        return ok(undefined)
      }
      if (row.who.every((who) => who.kind === 'internal')) return claimed
    } else if (row.who.every((who) => who.kind === 'internal')) return refuse('unauthenticated')
    const found = await around.authenticator.authenticate({
      authorization: request.headers.authorization,
      headers: request.headers,
      method: request.method,
      url: request.raw.url ?? '',
      source: exchange.source,
      who: row.who,
    })
    if (!found.ok) return found
    exchange.principal = found.value
    return ok(undefined)
  }

  const read = (request: FastifyRequest): Result<{ params: unknown; query: unknown; body: unknown; bytes: Uint8Array }> => {
    let bytes: Uint8Array = Buffer.isBuffer(request.body) ? request.body : new Uint8Array()
    const { exchange } = request
    if (exchange.claimed !== undefined && around.internal !== undefined) {
      const proven = around.internal.prove(exchange.claimed, bytes, row.sealed === true)
      if (!proven.ok) return proven
      exchange.proven = proven.value
      bytes = proven.value.body
    }
    const path = params?.(request.params) ?? { ok: true, value: request.params }
    if (!path.ok) return refuse('not_found')
    const asked = readQuery(request.query, query)
    if (!asked.ok) return asked
    const content = readBody(row, bytes, body)
    return content.ok ? ok({ params: path.value, query: asked.value, body: content.value, bytes }) : content
  }

  const run = async (request: FastifyRequest): Promise<Answer | KeptAnswer | Refusal> => {
    const given = read(request)
    if (!given.ok) return given
    const { exchange } = request
    const claim = await claimKey(request, given.value.bytes)
    if (!claim.ok) return claim
    if (claim.value !== null && 'body' in claim.value) return claim.value
    const call = new RouteCall(exchange, request.raw, { ...given.value, idempotency: claim.value }, around.draining)
    if (claim.value === null) return asAnswer(await row.handle(call), row)
    return runOnce(claim.value, async () => asAnswer(await row.handle(call), row))
  }

  /** Nothing changed when it was refused or broke, so the key becomes free again. */
  const runOnce = async (claim: IdempotencyClaim, handle: () => Promise<Answer | Refusal>): Promise<Answer | Refusal> => {
    const store = around.idempotency
    let result: Answer | Refusal
    try {
      result = await handle()
    } catch (error) {
      if (!claim.settled) await store?.abandon(claim.scope, claim.key)
      throw error
    }
    if (claim.settled || store === undefined) return result
    if (result instanceof Answer && result.contentType === undefined) {
      await store.finish(claim.scope, claim.key, { status: result.status, headers: result.headers, body: jsonText(result.body) })
    } else await store.abandon(claim.scope, claim.key)
    return result
  }

  const claimKey = async (request: FastifyRequest, bytes: Uint8Array): Promise<Result<IdempotencyClaim | KeptAnswer | null>> => {
    if (!row.idempotent || around.idempotency === undefined) return ok(null)
    const given = idempotencyKey(request.headers['idempotency-key'])
    if (!given.ok) return given
    if (given.key === undefined) return ok(null)
    const claim = {
      scope: principalKey(request.exchange.principal),
      key: given.key,
      fingerprint: fingerprint(request.method, request.raw.url ?? '', bytes),
      settled: false,
    }
    const begun = await around.idempotency.begin(claim.scope, claim.key, claim.fingerprint)
    switch (begun.state) {
      case 'claimed':
        return ok(claim)
      case 'in_flight':
        return refuse('idempotency_in_flight')
      case 'other_request':
        return refuse('idempotency_key_reused')
      case 'answered':
        return ok(begun.answer)
    }
  }

  const context = (request: FastifyRequest): RefusalContext => ({
    service: around.service,
    requestId: request.exchange.id,
    ...(row.refusal === undefined && around.authenticator.challenge !== undefined ? { authenticate: around.authenticator.challenge } : {}),
  })

  return {
    maxBodyBytes: row.maxBodyBytes ?? (isFormBody(row.body) ? row.body.maxBytes : MAX_BODY_BYTES),
    async admit(request, reply) {
      const admitted = await admit(request)
      if (admitted.ok) return true
      sendRefusal(request, reply, admitted, row, context(request))
      return false
    },
    async serve(request, reply) {
      const { zone } = request.exchange
      const result = await (zone === null ? run(request) : inZone(zone, () => run(request)))
      if (!(result instanceof Answer) && 'reason' in result) return sendRefusal(request, reply, result, row, context(request))
      if (result instanceof Answer) checkReply?.(result)
      return sendAnswer(request, reply, result, row, around.draining)
    },
  }
}

/** Whether a header stands more than once in a flat list of names and values. */
export function isRepeated(rawHeaders: readonly string[], name: string): boolean {
  let found = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const given = rawHeaders[at] ?? ''
    if (given.length === name.length && given.toLowerCase() === name) found += 1
  }
  return found > 1
}

/** What a handler gave, with the status that its row promises for plain values. */
export function asAnswer(result: Result<unknown> | Answer, row: RouteRow): Answer | Refusal {
  if (result instanceof Answer) return result
  if (!result.ok) return result
  const status = [200, 201, 202, 204].find((one) => one in row.reply) ?? 200
  return new Answer(status, result.value, {}, undefined)
}

/** Throws when an answer is not what its row promises. */
export function replyCheck(row: RouteRow): (given: Answer) => void {
  const promised = new Map<number, Validate>()
  for (const [status, schema] of Object.entries(row.reply)) {
    if (schema !== null && !('problem' in schema)) promised.set(Number(status), validator(schema, 'body', { convert: false }))
  }
  return ({ status, contentType, body }) => {
    if (contentType !== undefined) return
    const found = promised.get(status)?.(JSON.parse(jsonText(body) || 'null'))
    if (found === undefined || found.ok) return
    throw new Error(`${row.method} ${row.path} answered ${status} with another shape: ${JSON.stringify(found.violations)}`)
  }
}

/** The default for `:zone`: ids only. */
export function zoneById(text: string): ZoneId | null {
  return isId('zone', text) ? text : null
}
