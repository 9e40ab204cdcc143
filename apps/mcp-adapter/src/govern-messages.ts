import type { IncomingMessage, ServerResponse } from 'node:http'
import { newId, ok, REASONS, type Refusal, type RequestId, type Result, refuse } from '@caracal/core'
import type { PassageFacts } from '@caracal/enforcement'
import {
  addedHeaders,
  type CallRequest,
  chargeAnswered,
  chargeUnanswered,
  decisionEvent,
  forward,
  headerIn,
  type Outcome,
  outcomeEvent,
  refusedLater,
} from '@caracal/enforcement-point'
import { parseTraceparent } from '@caracal/service'
import { EvidenceUnavailable } from '@caracal/streams'
import { type AllowedMessage, allowedPassage, type Decided, decideMessage, digestOf } from './allowed-message.ts'
import { approvalResult, canAsk, resumed } from './approval-request.ts'
import type { Kind } from './asked-operation.ts'
import { type Era, eraOf } from './era.ts'
import { answerTo, isEventStream, narrowList } from './list-answer.ts'
import type { McpOutcome } from './mcp-metrics.ts'
import type { Body, JsonObject, Message } from './message.ts'
import { baseUrlOf, challengeOf } from './resource-metadata.ts'
import { type RpcId, rpcError, sendRpcRefusal } from './rpc-answer.ts'
import { JSON_BODY, type Prepared, prepare, sendAndCollect, stillStands, timeoutsOf } from './send-upstream.ts'
import { admit, bodyOf, type McpDesk, note } from './serve-server.ts'
import type { ServedServer } from './served-server.ts'

/** Takes the place of a message where a request carries none. */
const NO_MESSAGE: Message = { kind: 'response', whole: {} }
/** A caller's own request id is kept when it is short and printable. */
const CLIENT_REQUEST_ID = /^[\x21-\x7e]{1,128}$/

/** One request to `/mcp/{server}`: each message in it is decided, recorded and forwarded by itself. */
export async function governMessages(
  desk: McpDesk,
  server: ServedServer,
  request: IncomingMessage,
  response: ServerResponse,
  requestId: RequestId,
): Promise<void> {
  const visit = new Visit(desk, server, request, response, requestId)
  if (!['POST', 'GET', 'DELETE'].includes(request.method ?? '')) return visit.refuse(refuse('method_not_allowed'), 'other')
  const passage = await admit(desk, server, request, requestId)
  if (!passage.ok) return visit.refuse(passage, 'other')
  const session = visit.openSession(passage.value)
  if (!session.ok) return visit.refuse(session, 'other')
  if (request.method !== 'POST') return visit.operateSession(passage.value, session.value)
  const body = await bodyOf(request, response)
  if (!body.ok) return visit.refuse(body, 'other')
  const era = eraOf(request, body.value)
  if (!era.ok) return visit.refuse(era, 'other')
  return visit.take(passage.value, body.value, era.value, session.value)
}

class Visit {
  readonly #desk: McpDesk
  readonly #server: ServedServer
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #requestId: RequestId
  readonly #began = performance.now()
  #id: RpcId = null

  constructor(desk: McpDesk, server: ServedServer, request: IncomingMessage, response: ServerResponse, requestId: RequestId) {
    this.#desk = desk
    this.#server = server
    this.#request = request
    this.#response = response
    this.#requestId = requestId
  }

  /** The server's own session id behind the one that the client holds. */
  openSession({ mandate }: PassageFacts): Result<string | null> {
    const [sealed, ...others] = this.#request.headersDistinct['mcp-session-id'] ?? []
    if (sealed === undefined) return ok(null)
    if (others.length > 0) return refuse('invalid_request', 'Mcp-Session-Id stands more than once')
    return this.#desk.sessions.open(this.#server.name, mandate.claims, sealed)
  }

  /** GET opens the stream of a session, DELETE ends it. */
  async operateSession(passage: PassageFacts, session: string | null): Promise<void> {
    const method = this.#request.method ?? ''
    const allowed = allowedPassage(passage, { as: 'passage', kind: 'other' }, method, this.#desk.point.calls)
    await this.#forward(allowed, NO_MESSAGE, null, session)
  }

  async take(passage: PassageFacts, body: Body & { readonly bytes: Buffer }, era: Era, session: string | null): Promise<void> {
    const [first] = body.messages
    if (first === undefined) return
    if (body.batch) return this.#takeBatch(passage, body.messages, era, session)
    if (first.kind === 'request') this.#id = first.id
    const { claims } = passage.mandate
    const again = first.kind === 'request' && era === 'modern' ? resumed(first, this.#server.name, claims, this.#desk.sessions) : ok(first)
    if (!again.ok) return this.refuse(again, 'other', again.reason === 'approval_required' ? 'hold' : 'deny')
    const message: Message = again.value
    const bytes = message === first ? body.bytes : Buffer.from(JSON.stringify(message.whole))
    const decided = await decideMessage(passage, message, this.#requestId, this.#desk.point.calls)
    if ('refused' in decided) return this.#refuseDecided(decided.refused, message, era === 'modern' ? claims : null)
    const { allowed } = decided
    if (allowed.asked.as === 'list') return this.#answerList(passage, allowed, message, bytes, session)
    await this.#forward(allowed, message, bytes, session)
  }

  /** An answer in our own name. */
  refuse(refusal: Refusal, kind: Kind, outcome: McpOutcome = 'deny', decision: 'allow' | 'deny' | 'hold' = 'deny'): void {
    this.#count(kind, outcome, refusal)
    const challenge = challengeOf(refusal, baseUrlOf(this.#request, this.#desk.publicUrl), this.#server.name)
    if (refusal.reason === 'method_not_allowed') this.#response.setHeader('allow', 'POST, GET, DELETE')
    sendRpcRefusal(this.#response, refusal, { requestId: this.#requestId, id: this.#id, decision, challenge })
  }

  #count(kind: Kind, outcome: McpOutcome, refusal?: Refusal): void {
    this.#desk.metrics.count(this.#server.name, kind, outcome)
    const { measured } = this.#desk.point
    if (refusal === undefined) measured.allowed.inc()
    else measured.requests.inc({ outcome, reason: refusal.reason })
  }

  /** `asker`: whose client may be asked, where the revision has a way to do that. */
  #refuseDecided(
    { judged, told, kind, tier }: Extract<Decided, { refused: unknown }>['refused'],
    message: Message,
    asker: PassageFacts['mandate']['claims'] | null,
  ): void {
    const event = decisionEvent(judged, this.#shown(message))
    if (event === null) this.#desk.noteEarly(this.#request, judged.refusal.reason)
    else note(this.#desk.point, event)
    if (tier !== undefined && asker !== null && message.kind === 'request' && canAsk(message)) {
      this.#count(kind, 'hold', told)
      const question = approvalResult(message, tier, this.#server.name, asker, this.#desk.sessions)
      this.#send(200, 'application/json', JSON.stringify(question), 'hold')
      return
    }
    const refusal = tier === undefined ? told : { ...told, data: { ...told.data, approval: { tier } } }
    this.refuse(refusal, kind, judged.decision, judged.decision)
  }

  /** Prepares, records, and looks once more: what is returned may go out now. What fails here gives back what was taken. */
  async #ready(allowed: AllowedMessage, message: Message, session: string | null, requestId = this.#requestId): Promise<Result<Prepared>> {
    const { point } = this.#desk
    const prepared = await prepare(point, this.#server, this.#request, allowed, session)
    if (!prepared.ok) return this.#takeBack(allowed, message, prepared)
    try {
      const event = decisionEvent(allowed.judged, this.#shown(message, requestId))
      if (event === null) throw new Error('what is allowed has no mandate')
      await point.evidence.record(event)
    } catch (error) {
      prepared.value.lease.release()
      await allowed.release()
      if (!(error instanceof EvidenceUnavailable)) throw error
      return refuse('evidence_unavailable')
    }
    const why = stillStands(point, allowed)
    if (why === null) return prepared
    prepared.value.lease.release()
    return this.#takeBack(allowed, message, refuse(why))
  }

  async #takeBack(allowed: AllowedMessage, message: Message, refusal: Refusal): Promise<Refusal> {
    await allowed.release()
    note(this.#desk.point, refusedLater(allowed.facts, this.#shown(message), refusal.reason))
    return refusal
  }

  /** Streams the server's own answer back as it comes. */
  async #forward(allowed: AllowedMessage, message: Message, body: Buffer | null, session: string | null): Promise<void> {
    const { kind } = allowed.asked
    const prepared = await this.#ready(allowed, message, session)
    if (!prepared.ok) return this.refuse(prepared, kind, 'error')
    const { upstream, lease, injected, path } = prepared.value
    const { facts, expiresAt } = allowed
    const { charge = null, match } = facts
    this.#count(kind, 'allow')
    this.#desk.point.measured.overheadSeconds.observe((performance.now() - this.#began) / 1000)
    const isStream = this.#request.method === 'GET' || (message.kind === 'request' && message.method === 'subscriptions/listen')
    const exchange = forward({
      request: this.#request,
      response: this.#response,
      lease,
      body,
      path,
      host: upstream.host,
      headers: body === null ? injected.headers : [...injected.headers, ...JSON_BODY],
      secrets: injected.secrets,
      place: {
        requestUrl: `${upstream.origin}${path}`,
        upstreamOrigin: upstream.origin,
        upstreamBase: upstream.base,
        gatewayBase: `/mcp/${this.#server.name}`,
        replaced: new Map<string, (value: string) => string | null>([
          ['mcp-session-id', (id) => this.#desk.sessions.seal(this.#server.name, facts.mandate.claims, id)],
          // Where a server's own tokens come from is no concern of the caller: he would take them for ours (P-091).
          ['www-authenticate', () => null],
        ]),
      },
      timeouts: timeoutsOf(facts.resource, this.#desk.timeoutMs, isStream),
      added: addedHeaders(this.#requestId, allowed.judged.degraded),
      onAnswer: (status, raw) => chargeAnswered(charge, match?.operation?.price, { status, header: (name) => headerIn(raw, name) }),
      refuse: (refusal, wentOut) => {
        const answer = () => this.refuse(refusal, kind, 'error', 'allow')
        if (wentOut) answer()
        // It never left: what was taken is given back before the client hears of it, so that a retry finds it unused (P-066).
        else allowed.release().then(answer, answer)
      },
    })
    const remove = this.#desk.point.live.add({
      ids: facts.cutBy,
      zone: facts.zone.snapshot.id,
      endsAt: expiresAt * 1000,
      unallowed: allowed.unallowed,
      cut: exchange.cut,
    })
    void exchange.done.then((outcome) => {
      remove()
      chargeUnanswered(charge, exchange.wentOut())
      this.#finished(allowed, message, outcome)
    })
  }

  /** A list is taken whole, narrowed to what the caller could call, and sent on in the form in which it came. */
  async #answerList(passage: PassageFacts, allowed: AllowedMessage, message: Message, body: Buffer, session: string | null): Promise<void> {
    const collected = await this.#collect(allowed, message, body, session, this.#requestId)
    if (!collected.ok) return this.refuse(collected, 'list', 'error', 'allow')
    const { answer, status, headers } = collected.value
    const isNarrowed = answer !== null && message.kind === 'request'
    if (!isNarrowed)
      return status === 200
        ? this.refuse(refuse('upstream_protocol_error', 'no answer to the list'), 'list', 'error', 'allow')
        : this.#relay(status)
    this.#count('list', 'allow')
    const narrowed = narrowList(message.method, answer.response, passage, this.#desk.point.calls)
    const events = isEventStream(headers)
    const text = events
      ? [...answer.before, narrowed].map((one) => `event: message\ndata: ${JSON.stringify(one)}\n\n`).join('')
      : JSON.stringify(narrowed)
    this.#send(status, events ? 'text/event-stream' : 'application/json', text)
  }

  /** A server's refusal of a list, without its words: they were not asked for by this caller alone. */
  #relay(status: number): void {
    this.#count('list', 'allow')
    this.#send(
      status,
      'application/json',
      JSON.stringify({ jsonrpc: '2.0', id: this.#id, error: { code: -32_603, message: 'The MCP server refused' } }),
    )
  }

  #send(status: number, contentType: string, text: string, decision: 'allow' | 'hold' = 'allow'): void {
    this.#response.writeHead(status, {
      'content-type': contentType,
      'content-length': Buffer.byteLength(text),
      'cache-control': 'no-store',
      'x-request-id': this.#requestId,
      'x-caracal-decision': decision,
    })
    this.#response.end(text)
  }

  async #collect(
    allowed: AllowedMessage,
    message: Message,
    body: Buffer,
    session: string | null,
    requestId: RequestId,
  ): Promise<
    Result<{ answer: ReturnType<typeof answerTo>; status: number; headers: Readonly<Record<string, string | string[] | undefined>> }>
  > {
    const prepared = await this.#ready(allowed, message, session, requestId)
    if (!prepared.ok) return prepared
    const began = performance.now()
    const id = message.kind === 'request' ? message.id : undefined
    const { charge = null, match } = allowed.facts
    const ending = new AbortController()
    const end = () => ending.abort()
    this.#response.once('close', end)
    let wentOut = false
    const result = await sendAndCollect(prepared.value, body, {
      onSent: () => {
        wentOut = true
      },
      timeoutMs: this.#desk.timeoutMs,
      signal: ending.signal,
      isComplete: (bytes, headers) => isEventStream(headers) && answerTo(id, { headers, body: bytes }) !== null,
    })
    this.#response.off('close', end)
    if (result.ok)
      chargeAnswered(charge, match?.operation?.price, {
        status: result.value.status,
        header: (name) => first(result.value.headers[name.toLowerCase()]),
      })
    else chargeUnanswered(charge, wentOut)
    if (!wentOut) await allowed.release()
    this.#finished(
      allowed,
      message,
      {
        status: result.ok ? result.value.status : REASONS[result.reason].status,
        bytes_in: body.length,
        bytes_out: result.ok ? result.value.body.length : 0,
        latency_ms: Math.round(performance.now() - began),
        upstream: prepared.value.upstream.origin,
        ...(result.ok ? {} : { interrupted: result.reason }),
      },
      requestId,
    )
    if (!result.ok) return result
    const { status, headers } = result.value
    return ok({ answer: status === 200 ? answerTo(id, result.value) : null, status, headers })
  }

  #finished(allowed: AllowedMessage, message: Message, outcome: Outcome, requestId = this.#requestId): void {
    note(this.#desk.point, outcomeEvent(allowed.facts, this.#shown(message, requestId), outcome))
  }

  /** Each element by itself (P-089): what one may not do does not stop the others, and no single-use mandate covers two. */
  async #takeBatch(passage: PassageFacts, messages: readonly Message[], era: Era, session: string | null): Promise<void> {
    if (era === 'modern') return this.refuse(refuse('invalid_request', 'this revision has no batches'), 'other')
    const answers: JsonObject[] = []
    let refused = 0
    let worst: Refusal | null = null
    for (const message of messages) {
      const requestId = passage.call.token === undefined ? this.#requestId : newId('request')
      const answer = await this.#element(passage, message, session, requestId)
      if (!answer.ok) {
        refused += 1
        worst ??= answer
        if (message.kind === 'request') answers.push(rpcError(answer, requestId, message.id))
      } else if (answer.value !== null) answers.push(answer.value)
    }
    if (worst !== null && refused === messages.length) return this.refuse(worst, 'other')
    if (answers.length > 0) return this.#send(200, 'application/json', JSON.stringify(answers))
    this.#response.writeHead(202, { 'x-request-id': this.#requestId, 'x-caracal-decision': 'allow' })
    this.#response.end()
  }

  async #element(
    passage: PassageFacts,
    message: Message,
    session: string | null,
    requestId: RequestId,
  ): Promise<Result<JsonObject | null>> {
    const { point } = this.#desk
    const decided = await decideMessage(passage, message, requestId, point.calls)
    if ('refused' in decided) {
      const { judged, told, kind } = decided.refused
      const event = decisionEvent(judged, this.#shown(message, requestId))
      if (event !== null) note(point, event)
      this.#count(kind, judged.decision, told)
      return told
    }
    const { allowed } = decided
    const { kind } = allowed.asked
    const collected = await this.#collect(allowed, message, Buffer.from(JSON.stringify(message.whole)), session, requestId)
    if (!collected.ok) {
      this.#count(kind, 'error', collected)
      return collected
    }
    this.#count(kind, 'allow')
    const { answer } = collected.value
    if (message.kind !== 'request') return ok(null)
    if (answer === null) return refuse('upstream_protocol_error', 'the MCP server did not answer')
    return ok(allowed.asked.as === 'list' ? narrowList(message.method, answer.response, passage, point.calls) : answer.response)
  }

  #shown(message: Message, requestId = this.#requestId): CallRequest {
    const { headers } = this.#request
    const own = headers['x-request-id']
    return {
      requestId,
      clientRequestId: typeof own === 'string' && CLIENT_REQUEST_ID.test(own) ? own : undefined,
      traceId: parseTraceparent(typeof headers.traceparent === 'string' ? headers.traceparent : undefined)?.traceId,
      shown: { query: '', body: null },
      ...(message === NO_MESSAGE ? {} : { arguments: digestOf(message) }),
    }
  }
}

function first(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}
