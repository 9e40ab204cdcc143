import type { IncomingMessage, ServerResponse } from 'node:http'
import { ok, REASONS, type Refusal, type RequestId, type Result, refuse } from '@caracal/core'
import type { PassageFacts } from '@caracal/enforcement'
import {
  answerRefusal,
  type CallRequest,
  chargeAnswered,
  chargeUnanswered,
  decisionEvent,
  outcomeEvent,
  refusedLater,
} from '@caracal/enforcement-point'
import { parseJsonBody } from '@caracal/service'
import { EvidenceUnavailable } from '@caracal/streams'
import { type Client, ProtocolError, SdkError, SdkErrorCode, SdkHttpError } from '@modelcontextprotocol/client'
import { type AllowedMessage, decideMessage, digestOf } from './allowed-message.ts'
import type { McpOutcome } from './mcp-metrics.ts'
import { isObject, type JsonObject, type Message } from './message.ts'
import { baseUrlOf, challengeOf } from './resource-metadata.ts'
import { stillStands } from './send-upstream.ts'
import { admit, bytesOf, type McpDesk, note } from './serve-server.ts'
import { pickServer, type ServedServer } from './served-server.ts'
import { type LastAnswer, type ServerClients, ServerRefused } from './server-clients.ts'

type PlainCall = { readonly server: string; readonly agent: unknown; readonly message: Message & { readonly kind: 'request' } }

/** What a plain body may have, by path. */
const PATHS: Readonly<Record<string, { readonly method: string; readonly members: readonly string[]; readonly of: string }>> = {
  '/mcp/tool/call': { method: 'tools/call', members: ['server', 'tool', 'arguments', 'agent_id'], of: 'tool' },
  '/mcp/resource/read': { method: 'resources/read', members: ['server', 'uri', 'agent_id'], of: 'uri' },
}

/** Whether this path is one for clients that do not speak MCP. */
export function isPlainPath(path: string): boolean {
  return Object.hasOwn(PATHS, path)
}

/**
 * `POST /mcp/tool/call` and `/mcp/resource/read`: one JSON body, one JSON answer, decided like any other operation. The server's result comes
 * back as it is, errors of the tool inside; everything else is problem+json (never 200 for a denial).
 */
export async function answerPlain(
  desk: McpDesk,
  clients: ServerClients,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
  requestId: RequestId,
): Promise<void> {
  let server: ServedServer | undefined
  const kind = path === '/mcp/tool/call' ? 'tool' : 'resource'
  const end = (refusal: Refusal, outcome: McpOutcome = 'deny') => {
    if (server !== undefined) desk.metrics.count(server.name, kind, outcome)
    desk.point.measured.requests.inc({ outcome, reason: refusal.reason })
    const authenticate = challengeOf(refusal, baseUrlOf(request, desk.publicUrl), server?.name ?? '')
    const challenge: Record<string, string> = refusal.reason === 'insufficient_scope' ? { 'www-authenticate': authenticate } : {}
    const decision = outcome === 'error' ? 'allow' : outcome
    answerRefusal(
      response,
      refusal,
      { service: 'mcp-adapter', requestId, authenticate: 'Bearer realm="caracal"' },
      { 'x-caracal-decision': decision, ...challenge },
    )
  }
  if (request.method !== 'POST') return end(refuse('method_not_allowed'))
  // The server is named in the body only: whoever shows nothing at all is not read.
  const presented = await desk.point.callers.present(request, desk.point.sourceOf(request))
  if (!presented.ok) {
    desk.noteEarly(request, presented.reason)
    return end(presented)
  }
  const bytes = await bytesOf(request, response)
  if (!bytes.ok) return end(bytes)
  const call = readPlain(path, bytes.value)
  if (!call.ok) return end(call)
  const { message, agent } = call.value
  const picked = pickServer(desk.servers, call.value.server)
  if (!picked.ok) return end(picked)
  server = picked.value
  const passage = await admit(desk, server, request, requestId)
  if (!passage.ok) return end(passage)
  const shown: CallRequest = {
    requestId,
    clientRequestId: undefined,
    traceId: undefined,
    shown: { query: '', body: null },
    arguments: digestOf(message),
  }
  const stranger = strangerIn(passage.value, agent)
  if (stranger !== null) {
    const event = decisionEvent({ decision: 'deny', refusal: stranger, facts: passage.value }, shown)
    if (event !== null) note(desk.point, event)
    return end(stranger)
  }
  const decided = await decideMessage(passage.value, message, requestId, desk.point.calls)
  if ('refused' in decided) {
    const { judged, told, tier } = decided.refused
    const event = decisionEvent(judged, shown)
    if (event !== null) note(desk.point, event)
    return end(tier === undefined ? told : { ...told, data: { ...told.data, approval: { tier } } }, judged.decision)
  }
  const result = await perform(desk, clients, server, decided.allowed, message, shown)
  if (!result.ok) return end(result, 'error')
  desk.metrics.count(server.name, kind, 'allow')
  desk.point.measured.allowed.inc()
  const body = JSON.stringify(result.value)
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-request-id': requestId,
    'x-caracal-decision': 'allow',
    ...(decided.allowed.judged.degraded === true ? { 'x-caracal-degraded': 'unconfirmed' } : {}),
  })
  response.end(body)
}

/** An id in a body proves nothing; one that contradicts the proof is refused (P-087). */
function strangerIn({ application }: PassageFacts, agent: unknown): Refusal | null {
  if (agent === undefined || agent === application.id || agent === application.name) return null
  return refuse('forbidden', 'agent_id is not the application that the credential proves')
}

function readPlain(path: string, bytes: Buffer): Result<PlainCall> {
  const form = PATHS[path]
  if (form === undefined) return refuse('not_found')
  const parsed = parseJsonBody(bytes)
  if (!parsed.ok) return parsed
  const body = parsed.value
  if (!isObject(body)) return refuse('validation_failed', 'the body is not an object')
  const unknown = Object.keys(body).find((key) => !form.members.includes(key))
  if (unknown !== undefined) return refuse('validation_failed', `there is no member ${JSON.stringify(unknown.slice(0, 64))}`)
  const { server, agent_id: agent, arguments: given = {} } = body
  const name = body[form.of]
  if (typeof server !== 'string' || typeof name !== 'string') return refuse('validation_failed', `server and ${form.of} are required`)
  if (!isObject(given)) return refuse('validation_failed', 'arguments is not an object')
  const params: JsonObject = form.of === 'uri' ? { uri: name } : { name, arguments: given }
  return ok({ server, agent, message: { kind: 'request', id: 1, method: form.method, params, whole: body } })
}

/** Evidence first, then the server, through the one pipeline of credential, guard and pool. */
async function perform(
  { point, timeoutMs }: McpDesk,
  clients: ServerClients,
  server: ServedServer,
  allowed: AllowedMessage,
  message: PlainCall['message'],
  shown: CallRequest,
): Promise<Result<JsonObject>> {
  const takeBack = async (refusal: Refusal) => {
    await allowed.release()
    note(point, refusedLater(allowed.facts, shown, refusal.reason))
    return refusal
  }
  try {
    const event = decisionEvent(allowed.judged, shown)
    if (event === null) throw new Error('what is allowed has no mandate')
    await point.evidence.record(event)
  } catch (error) {
    if (!(error instanceof EvidenceUnavailable)) throw error
    await allowed.release()
    return refuse('evidence_unavailable')
  }
  const why = stillStands(point, allowed)
  if (why !== null) return takeBack(refuse(why))
  const { facts } = allowed
  const { charge = null, match } = facts
  const began = performance.now()
  const cutting = new AbortController()
  const remove = point.live.add({
    ids: facts.cutBy,
    zone: facts.zone.snapshot.id,
    endsAt: allowed.expiresAt * 1000,
    unallowed: allowed.unallowed,
    cut: (reason) => cutting.abort(new ServerRefused(refuse(reason), true)),
  })
  const asked = await ask(clients, server, facts, message, { timeout: timeoutMs, signal: cutting.signal }).finally(remove)
  const { result, wentOut, answer } = asked
  const refused = result.ok ? null : result
  if (answer === undefined) chargeUnanswered(charge, wentOut)
  else
    chargeAnswered(charge, match?.operation?.price, { status: answer.status, header: (name) => only(answer.headers[name.toLowerCase()]) })
  if (!wentOut) await allowed.release()
  note(
    point,
    outcomeEvent(facts, shown, {
      status: refused === null ? 200 : REASONS[refused.reason].status,
      bytes_in: shown.arguments?.bytes ?? 0,
      bytes_out: result.ok ? Buffer.byteLength(JSON.stringify(result.value)) : 0,
      latency_ms: Math.round(performance.now() - began),
      upstream: server.name,
      ...(refused === null ? {} : { interrupted: refused.reason }),
    }),
  )
  return result
}

type Ask = { readonly timeout: number; readonly signal: AbortSignal }

/** What came of it, and whether the server may have heard of it. */
type Asked = { readonly result: Result<JsonObject>; readonly wentOut: boolean; readonly answer?: LastAnswer['answer'] }

async function ask(
  clients: ServerClients,
  server: ServedServer,
  facts: AllowedMessage['facts'],
  { method, params }: PlainCall['message'],
  options: Ask,
  again = true,
): Promise<Asked> {
  let client: Client | undefined
  const last: LastAnswer = {}
  try {
    const connected = await clients.get(server, facts)
    client = connected
    const result = await clients.noting<JsonObject>(last, async () =>
      method === 'tools/call'
        ? await connected.callTool({ name: String(params.name), arguments: { ...(params.arguments as JsonObject) } }, options)
        : await connected.readResource({ uri: String(params.uri) }, { ...options, cacheMode: 'bypass' }),
    )
    return { result: ok(result), wentOut: true, answer: last.answer }
  } catch (error) {
    // A session that the server forgot was never used for this call.
    if (again && client !== undefined && error instanceof SdkHttpError && error.status === 404) {
      clients.forget(client)
      await Promise.resolve()
      return ask(clients, server, facts, { kind: 'request', id: 1, method, params, whole: params }, options, false)
    }
    return { result: refusalOf(error), wentOut: serverRefusalIn(error)?.wentOut ?? true, answer: last.answer }
  }
}

function serverRefusalIn(error: unknown): ServerRefused | null {
  for (let at: unknown = error; at instanceof Error; at = at.cause) if (at instanceof ServerRefused) return at
  return null
}

/** What became of a request that got no result. A server's own error is what it is: of the arguments, or of what is not there. */
function refusalOf(error: unknown): Refusal {
  const refused = serverRefusalIn(error)
  if (refused !== null) return refused.refusal
  if (error instanceof ProtocolError) {
    const detail = error.message.slice(0, 500)
    return error.code === -32_602 || error.code === -32_002
      ? refuse('validation_failed', detail)
      : refuse('upstream_protocol_error', detail)
  }
  if (error instanceof SdkError && error.code === SdkErrorCode.RequestTimeout) return refuse('upstream_timeout')
  if (error instanceof SdkError) return refuse('upstream_protocol_error', 'the server did not speak MCP')
  throw error
}

function only(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}
