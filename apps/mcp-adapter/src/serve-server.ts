import type { IncomingMessage, ServerResponse } from 'node:http'
import { ok, type Reason, type Refusal, type RequestId, type Result, refuse } from '@caracal/core'
import { decidePassage, mcpPath, type PassageFacts } from '@caracal/enforcement'
import {
  checkDeclaredLength,
  checkForm,
  decisionEvent,
  type EnforcementPoint,
  hasBody,
  shownHeaders,
  UploadBody,
  UploadError,
} from '@caracal/enforcement-point'
import type { McpMetrics } from './mcp-metrics.ts'
import { type Body, MAX_BODY_BYTES, readBody } from './message.ts'
import type { ServedServer } from './served-server.ts'
import type { SessionIds } from './session-id.ts'

/** What everything that serves MCP stands on. */
export type McpDesk = {
  readonly point: EnforcementPoint
  readonly metrics: McpMetrics
  readonly sessions: SessionIds
  readonly servers: ReadonlyMap<string, ServedServer>
  /** Where clients reach the adapter; undefined: as each request says. */
  readonly publicUrl: string | undefined
  readonly allowedOrigins: ReadonlySet<string>
  /** How long a server may be silent. Milliseconds. */
  readonly timeoutMs: number
  /** Evidence of what is refused before a caller is proven. */
  readonly noteEarly: (request: IncomingMessage, reason: Reason) => void
}

/** How long a body may be silent while it comes. Milliseconds. */
const UPLOAD_IDLE_MS = 30_000

/** A request at the door: the cheapest refusals first, then who it is, and only then what it carries (P-066). */
export async function admit(
  desk: McpDesk,
  server: Pick<ServedServer, 'name'>,
  request: IncomingMessage,
  requestId: RequestId,
): Promise<Result<PassageFacts>> {
  const { point } = desk
  const early = (refusal: Refusal) => {
    desk.noteEarly(request, refusal.reason)
    return refusal
  }
  const form = checkRequest(desk, request)
  if (!form.ok) return early(form)
  const peer = point.sourceOf(request)
  const presented = await point.callers.present(request, peer)
  if (!presented.ok) return early(presented)
  const passage = await decidePassage(
    {
      ...presented.value,
      requestId,
      route: { by: 'name', value: server.name },
      method: request.method ?? '',
      path: mcpPath(''),
      query: {},
      headers: shownHeaders(request),
      body: async () => null,
      mcp: { tool: '', arguments: undefined },
      peer,
    },
    point.calls,
  )
  if (passage.passed) return ok(passage.so)
  const { refusal, at, so: facts } = passage
  if (at === 'verifyMandate' && point.callers.mode === 'mandate' && refusal.reason !== 'keys_unavailable') point.rates.unproven(peer)
  const shown = { requestId, clientRequestId: undefined, traceId: undefined, shown: { query: '', body: null } }
  const event = decisionEvent({ decision: 'deny', refusal, facts }, shown)
  if (event === null) return early(refusal)
  note(point, event)
  return refusal
}

function checkRequest({ allowedOrigins }: Pick<McpDesk, 'allowedOrigins'>, request: IncomingMessage): Result<null> {
  const form = checkForm(request)
  if (!form.ok) return form
  const { origin } = request.headers
  // A page in a browser may be anybody's: also one whose name was made to mean this address.
  if (origin !== undefined && !allowedOrigins.has(origin)) return refuse('forbidden', 'this Origin may not call')
  if (/[?&](?:access_token|token)=/i.test(request.url ?? '')) return refuse('invalid_request', 'a credential has no place in a URL')
  const declared = checkDeclaredLength(request, MAX_BODY_BYTES)
  if (!declared.ok) return declared
  if (request.method !== 'POST') return ok(null)
  const [type, ...others] = request.headersDistinct['content-type'] ?? []
  const isJson =
    type !== undefined && others.length === 0 && /^application\/json[ \t]*(?:;[ \t]*charset[ \t]*=[ \t]*"?utf-8"?[ \t]*)?$/i.test(type)
  if (!isJson || request.headers['content-encoding'] !== undefined) return refuse('unsupported_media_type', 'a body is application/json')
  return ok(null)
}

/** The whole body of a request, read once and parsed once. */
export async function bodyOf(request: IncomingMessage, response: ServerResponse): Promise<Result<Body & { readonly bytes: Buffer }>> {
  const bytes = await bytesOf(request, response)
  if (!bytes.ok) return bytes
  const body = readBody(bytes.value)
  return body.ok ? ok({ ...body.value, bytes: bytes.value }) : body
}

/** The bytes of a body, at most 4 MiB. */
export async function bytesOf(request: IncomingMessage, response: ServerResponse): Promise<Result<Buffer>> {
  if (!hasBody(request)) return refuse('malformed_json', 'there is no body')
  const onStart = request.headers.expect === undefined ? undefined : () => response.writeContinue()
  const upload = new UploadBody(request, { maxBytes: MAX_BODY_BYTES, idleMs: UPLOAD_IDLE_MS }, onStart)
  try {
    const { bytes, complete } = await upload.peek(MAX_BODY_BYTES + 1)
    return complete ? ok(bytes) : refuse('body_too_large', `at most ${MAX_BODY_BYTES} bytes`)
  } catch (error) {
    if (error instanceof UploadError) return refuse(error.reason)
    throw error
  } finally {
    upload.destroy()
  }
}

/** Evidence of what has no effect, or has had it: it is not waited for, and its failure is said aloud. */
export function note(
  { evidence, logger }: Pick<EnforcementPoint, 'evidence' | 'logger'>,
  event: Parameters<EnforcementPoint['evidence']['record']>[0],
): void {
  evidence.record(event, 'soon').catch((error: unknown) => logger.error({ err: error, type: event.type }, 'evidence could not be recorded'))
}
