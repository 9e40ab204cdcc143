import type { IncomingMessage, ServerResponse } from 'node:http'
import { REASONS, type Reason, type Refusal, type RequestId, type Resource, type Result, refuse } from '@caracal/core'
import { type CallFacts, type CallVerdict, decideCall, noLongerAllowed, type Presented, replayed } from '@caracal/enforcement'
import {
  addedHeaders,
  type CallRequest,
  chargeAnswered,
  chargeUnanswered,
  checkDeclaredLength,
  checkForm,
  decisionEvent,
  type EnforcementPoint,
  forward,
  type Handle,
  hasBody,
  headerIn,
  headersForUpstream,
  type Injected,
  injectCredential,
  type Lease,
  outcomeEvent,
  refusedLater,
  shownHeaders,
  UploadBody,
  UploadError,
  type Upstream,
  upstreamOf,
} from '@caracal/enforcement-point'
import { parseJsonBody, parseTraceparent } from '@caracal/service'
import { AlreadyClaimed, EvidenceUnavailable, type EvidenceWriter } from '@caracal/streams'
import { sendRefusal } from './http-server.ts'
import { parseRequestTarget } from './request-target.ts'
import { pickResource, type RoutedRequest, routeRequest } from './route-request.ts'
import { isPlainJson, queryOf } from './shown-to-rules.ts'

export type GatewayDesk = {
  readonly point: Pick<
    EnforcementPoint,
    'callers' | 'calls' | 'evidence' | 'credentials' | 'pools' | 'live' | 'measured' | 'logger' | 'clock' | 'rates' | 'sourceOf'
  >
  /** Lower case; null when host routing is off. */
  readonly baseDomain: string | null
  readonly maxRequestBytes: number
  /** Longest wait for the first byte of an answer. Seconds. */
  readonly maxFirstByte: number
  /** Evidence of what is refused before its caller is proven. */
  readonly noteEarly: (request: IncomingMessage, reason: Reason) => void
  /** Answers requests that name no resource: probes, version, 404. */
  readonly ownRoutes: Handle
}

/** What conditions may see of a body. Bytes. */
const MAX_SHOWN_BYTES = 64 * 1024
/** Longest silence of an upload that is looked at before its resource is known. Milliseconds. */
const UPLOAD_IDLE_MS = 30_000
/** A caller's own request id is kept when it is short and printable. */
const CLIENT_REQUEST_ID = /^[\x21-\x7e]{1,128}$/

/**
 * One request, from its first byte to its evidence: cheap refusals, routing, decision, credential, evidence, forwarding. What is
 * refused after a single-use mandate was taken gives it back; nothing goes out before its evidence is durable (P-066, P-094).
 */
export function governCalls(desk: GatewayDesk): Handle {
  return async (request, response, requestId) => {
    const began = performance.now()
    const routed = route(request, desk.baseDomain)
    if (routed.ok && routed.value === null) return desk.ownRoutes(request, response, requestId)
    const refuseWith = (refusal: Refusal) => {
      desk.point.measured.requests.inc({ outcome: 'deny', reason: refusal.reason })
      desk.noteEarly(request, refusal.reason)
      answerRefusal(response, refusal, requestId, 'deny', desk.point.callers.challenge)
    }
    if (!routed.ok) return refuseWith(routed)
    const form = checkForm(request)
    if (!form.ok) return refuseWith(form)
    const declared = checkDeclaredLength(request, desk.maxRequestBytes)
    if (!declared.ok) return refuseWith(declared)
    const source = desk.point.sourceOf(request)
    const presented = await desk.point.callers.present(request, source)
    if (!presented.ok) return refuseWith(presented)
    await new Call(desk, { source, request, response, requestId, began, target: routed.value as RoutedRequest }).run(presented.value)
  }
}

function route(request: IncomingMessage, baseDomain: string | null): Result<RoutedRequest | null> {
  const target = parseRequestTarget(request.url ?? '')
  if (!target.ok) return target
  return routeRequest({ target: target.value, rawHeaders: request.rawHeaders, baseDomain })
}

function answerRefusal(
  response: ServerResponse,
  refusal: Refusal,
  requestId: RequestId,
  decision: 'deny' | 'hold',
  challenge: string,
): void {
  sendRefusal(response, refusal, requestId, {
    'x-caracal-decision': decision,
    ...(REASONS[refusal.reason].status === 401 ? { 'www-authenticate': challenge } : {}),
  })
}

type Incoming = {
  readonly source: string
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly requestId: RequestId
  readonly began: number
  readonly target: RoutedRequest
}

/** What is ready to go out. */
type Prepared = { readonly upstream: Upstream; readonly lease: Lease; readonly injected: Injected }

/** One governed call. Its state is what has been read and taken so far. */
class Call {
  readonly #desk: GatewayDesk
  readonly #in: Incoming
  readonly #limits: { maxBytes: number; idleMs: number }
  readonly #body: UploadBody | null
  #shownBody: Buffer | null = null
  #bodyForRules: unknown

  constructor(desk: GatewayDesk, incoming: Incoming) {
    const { request, response } = incoming
    this.#desk = desk
    this.#in = incoming
    // The resource's own limits are set as soon as it is known.
    this.#limits = { maxBytes: desk.maxRequestBytes, idleMs: UPLOAD_IDLE_MS }
    const onStart = request.headers.expect === undefined ? undefined : () => response.writeContinue()
    this.#body = hasBody(request) ? new UploadBody(request, this.#limits, onStart) : null
  }

  async run(presented: Presented): Promise<void> {
    const verdict = await this.#decide(presented)
    if (!('decision' in verdict)) {
      this.#desk.noteEarly(this.#in.request, verdict.reason)
      return this.#refuse(verdict)
    }
    if (verdict.decision !== 'allow') return this.#refuseDecided(verdict)
    const { facts } = verdict
    const prepared = await this.#prepare(facts)
    if (!prepared.ok) return this.#takeBack(verdict, prepared)
    const { lease } = prepared.value
    try {
      await this.#recordAllowed(verdict)
    } catch (error) {
      lease.release()
      if (error instanceof AlreadyClaimed) {
        await verdict.lost()
        return this.#refuseDecided({ decision: 'deny', refusal: replayed(facts.mandate), at: 'reserveOnce', facts })
      }
      if (!(error instanceof EvidenceUnavailable)) throw error
      await verdict.release()
      return this.#refuse(refuse('evidence_unavailable'))
    }
    const last = this.#stillStands(facts)
    if (!last.ok) {
      lease.release()
      return this.#takeBack(verdict, last)
    }
    this.#forward(verdict, prepared.value)
  }

  async #decide(presented: Presented): Promise<CallVerdict | Refusal> {
    const { request, requestId, target, source } = this.#in
    const [first] = target.references
    try {
      return await decideCall(
        {
          ...presented,
          requestId,
          route: { by: first.by, value: first.text },
          method: request.method ?? '',
          path: target.below,
          get query() {
            return queryOf(target.query)
          },
          get headers() {
            return shownHeaders(request)
          },
          body: (resource) => this.#readBody(resource),
          peer: source,
        },
        this.#desk.point.calls,
      )
    } catch (error) {
      if (error instanceof UploadError) return refuse(error.reason)
      throw error
    }
  }

  /** The body for conditions: null when there is none, undefined when it is not JSON or too large to be looked at. */
  async #readBody(resource: Resource): Promise<unknown> {
    if (this.#body === null) return null
    if (!this.#limitBody(resource).ok) throw new UploadError('body_too_large')
    const { bytes, complete } = await this.#body.peek(MAX_SHOWN_BYTES + 1)
    this.#shownBody = bytes
    if (!complete || bytes.length > MAX_SHOWN_BYTES) return undefined
    if (!isPlainJson(this.#in.request)) return undefined
    const parsed = parseJsonBody(bytes)
    this.#bodyForRules = parsed.ok ? parsed.value : undefined
    return this.#bodyForRules
  }

  /** Everything that can still fail and has no effect: the resource's limits, its upstream, the credential, a connection's place. */
  async #prepare(facts: CallFacts): Promise<Result<Prepared>> {
    const { target } = this.#in
    const { resource, zone } = facts
    const declared = this.#limitBody(resource)
    if (!declared.ok) return declared
    const meant = pickResource(target, {
      byIdentifier: (identifier) => zone.resourcesByIdentifier.get(identifier),
      byName: (name) => zone.resourcesByName.get(name),
    })
    if (!meant.ok) return meant
    const upstream = upstreamOf(resource)
    if (!upstream.ok) return upstream
    const injected = await this.#inject(facts, upstream.value)
    if (!injected.ok) return injected
    const lease = this.#desk.point.pools.lease(upstream.value)
    if (!lease.ok) return lease
    return { ok: true, value: { upstream: upstream.value, lease: lease.value, injected: injected.value } }
  }

  /** The resource's own limits hold from here on; a body that says itself that it is larger is refused. */
  #limitBody(resource: Resource): Result<null> {
    this.#limits.maxBytes = Math.min(resource.maxBodyBytes, this.#desk.maxRequestBytes)
    this.#limits.idleMs = resource.timeouts.idle * 1000
    return checkDeclaredLength(this.#in.request, this.#limits.maxBytes)
  }

  async #inject({ resource, zone }: CallFacts, upstream: Upstream): Promise<Result<Injected>> {
    const { target, request } = this.#in
    const outgoing = {
      protocol: upstream.protocol,
      host: upstream.host,
      path: target.below.raw,
      query: target.query,
      headers: headersForUpstream(request.rawHeaders),
    }
    if (resource.provider === null) return injectCredential(outgoing, null, null, this.#desk.point.clock())
    const provider = zone.providers.get(resource.provider)
    // A provider that is gone is no permission to go without one (P-077).
    if (provider === undefined) return refuse('credential_unavailable')
    const credential = await this.#desk.point.credentials.get(provider, resource, upstream.host)
    if (!credential.ok) return credential
    return injectCredential(outgoing, provider, credential.value.secret, this.#desk.point.clock())
  }

  /** What was revoked, went stale or is not allowed any more since credential and evidence were awaited. */
  #stillStands(facts: CallFacts): Result<null> {
    const { view } = this.#desk.point.calls
    if (view.unfit() !== null) return refuse('revocation_view_stale')
    if (view.isRevoked(this.#cutBy(facts)) !== null) return refuse('token_revoked')
    const why = this.#unallowed(facts)
    return why === null ? { ok: true, value: null } : refuse(why)
  }

  #unallowed(facts: CallFacts): Reason | null {
    return noLongerAllowed(facts, this.#body === null ? null : this.#bodyForRules, this.#desk.point.calls)
  }

  #cutBy({ cutBy, resource }: CallFacts): readonly string[] {
    return resource.provider === null ? cutBy : [...cutBy, resource.provider]
  }

  #forward(verdict: Extract<CallVerdict, { decision: 'allow' }>, { upstream, lease, injected }: Prepared): void {
    const { request, response, requestId, target, began } = this.#in
    const { facts, expiresAt } = verdict
    const { resource } = facts
    const path = `${upstream.base}${target.below.raw}${injected.query}`
    this.#desk.point.measured.allowed.inc()
    this.#desk.point.measured.overheadSeconds.observe((performance.now() - began) / 1000)
    const exchange = forward({
      request,
      response,
      lease,
      body: this.#body,
      path,
      host: upstream.host,
      headers: injected.headers,
      secrets: injected.secrets,
      place: {
        requestUrl: `${upstream.origin}${path}`,
        upstreamOrigin: upstream.origin,
        upstreamBase: upstream.base,
        gatewayBase: target.base,
      },
      timeouts: { ...resource.timeouts, firstByte: Math.min(resource.timeouts.firstByte, this.#desk.maxFirstByte) },
      added: addedHeaders(requestId, verdict.degraded),
      refuse: (refusal, wentOut) => {
        this.#desk.point.measured.requests.inc({ outcome: 'error', reason: refusal.reason })
        const answer = () => sendRefusal(response, refusal, requestId, { 'x-caracal-decision': 'allow' })
        if (wentOut) return answer()
        // It never left: a single-use mandate is given back before the client hears of it, so that a retry finds it unused (P-066).
        verdict.release().then(answer, answer)
      },
      onAnswer: (status, raw) =>
        chargeAnswered(facts.charge, facts.match.operation?.price, { status, header: (name) => headerIn(raw, name) }),
    })
    const remove = this.#desk.point.live.add({
      ids: this.#cutBy(facts),
      zone: facts.zone.snapshot.id,
      endsAt: expiresAt * 1000,
      unallowed: () => this.#unallowed(facts),
      cut: exchange.cut,
    })
    void exchange.done.then((outcome) => {
      remove()
      chargeUnanswered(facts.charge, exchange.wentOut())
      this.#note(this.#event(outcomeEvent(facts, this.#shown(), outcome)))
    })
  }

  /** Durable when it resolves, and what the call may happen once for is this call's. */
  async #recordAllowed(verdict: Extract<CallVerdict, { decision: 'allow' }>): Promise<void> {
    const { evidence } = this.#desk.point
    const event = this.#event(decisionEvent(verdict, this.#shown()))
    const claim = verdict.claim()
    if (claim === null) await evidence.record(event)
    else if (evidence.recordClaiming === undefined) throw new Error('nothing is claimed later without a writer that claims')
    else await evidence.recordClaiming(event, claim)
  }

  /** Evidence of what has no effect, or has had it: it is not waited for, and its failure is said aloud. */
  #note(event: Parameters<EvidenceWriter['record']>[0]): void {
    this.#desk.point.evidence
      .record(event, 'soon')
      .catch((error: unknown) => this.#desk.point.logger.error({ err: error, type: event.type }, 'evidence could not be recorded'))
  }

  async #refuseDecided(verdict: Exclude<CallVerdict, { decision: 'allow' }>): Promise<void> {
    const event = decisionEvent(verdict, this.#shown())
    if (event === null) this.#desk.noteEarly(this.#in.request, verdict.refusal.reason)
    else this.#note(event)
    const { approval, refusal, decision, at } = verdict
    if (at === 'verifyMandate' && this.#desk.point.callers.mode === 'mandate' && refusal.reason !== 'keys_unavailable')
      this.#desk.point.rates.unproven(this.#in.source)
    this.#desk.point.measured.requests.inc({ outcome: decision, reason: refusal.reason })
    const told = approval === undefined ? refusal : { ...refusal, data: { ...refusal.data, approval: { tier: approval.tier } } }
    this.#end(told, decision)
  }

  /** An allowed call that cannot go out: a single-use mandate is given back, and the evidence says why. */
  async #takeBack(verdict: Extract<CallVerdict, { decision: 'allow' }>, refusal: Refusal): Promise<void> {
    await verdict.release()
    this.#note(refusedLater(verdict.facts, this.#shown(), refusal.reason))
    this.#refuse(refusal)
  }

  #refuse(refusal: Refusal): void {
    this.#desk.point.measured.requests.inc({ outcome: 'error', reason: refusal.reason })
    this.#end(refusal, 'deny')
  }

  #end(refusal: Refusal, decision: 'deny' | 'hold'): void {
    this.#body?.destroy()
    answerRefusal(this.#in.response, refusal, this.#in.requestId, decision, this.#desk.point.callers.challenge)
  }

  #event(event: ReturnType<typeof decisionEvent>) {
    if (event === null) throw new Error('an allowed call has no mandate')
    return event
  }

  #shown(): CallRequest {
    const { request, requestId, target } = this.#in
    const own = request.headers['x-request-id']
    return {
      requestId,
      clientRequestId: typeof own === 'string' && CLIENT_REQUEST_ID.test(own) ? own : undefined,
      traceId: parseTraceparent(typeof request.headers.traceparent === 'string' ? request.headers.traceparent : undefined)?.traceId,
      shown: { query: target.query, body: this.#shownBody },
    }
  }
}
