import { type MandateClaims, ok, type Result, refuse } from '@caracal/core'
import { digestOf } from './allowed-message.ts'
import { isObject, type JsonObject, type Message } from './message.ts'
import type { SessionIds } from './session-id.ts'

type Request = Extract<Message, { kind: 'request' }>
type Holder = Pick<MandateClaims, 'zone' | 'client_id' | 'sub'>

/** Begins every state of ours, so that a server's own is told from it. */
const OURS = 'caracal.'
const QUESTION = 'approval'
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities'

/** Whether the client of this request shows questions to its user (MCP 2026-07-28, elicitation). */
export function canAsk({ params }: Request): boolean {
  const meta = isObject(params._meta) ? params._meta : {}
  const capabilities = meta[CAPABILITIES]
  return isObject(capabilities) && isObject(capabilities.elicitation)
}

/**
 * A held operation as MCP 2026-07-28 asks for it: `input_required`, with a question that says who has to approve. Answering it approves
 * nothing: the call is decided anew when it comes again, and is held again until somebody who may has approved it.
 */
export function approvalResult(request: Request, tier: string, server: string, holder: Holder, states: SessionIds): JsonObject {
  return {
    jsonrpc: '2.0',
    id: request.id,
    result: {
      resultType: 'input_required',
      inputRequests: {
        [QUESTION]: {
          method: 'elicitation/create',
          params: {
            mode: 'form',
            message: `This has to be approved (${tier}) before it can be done. Accept to try again once it is approved.`,
            requestedSchema: { type: 'object', properties: {} },
          },
        },
      },
      requestState: `${OURS}${states.seal(`${server} state`, holder, stateOf(request))}`,
    },
  }
}

/**
 * A request that comes again after such an answer, without what was between the client and us; any other request as it is. A state that was
 * made for another request, caller or server is `invalid_request`; who declined is told once more that it is held.
 */
export function resumed(request: Request, server: string, holder: Holder, states: SessionIds): Result<Request> {
  const { requestState, inputResponses, ...rest } = request.params
  if (typeof requestState !== 'string' || !requestState.startsWith(OURS)) return ok(request)
  const plain: Request = { ...request, params: rest, whole: { ...request.whole, params: rest } }
  const opened = states.open(`${server} state`, holder, requestState.slice(OURS.length))
  if (!opened.ok || opened.value !== stateOf(plain)) return refuse('invalid_request', 'requestState is not of this request')
  const answer = isObject(inputResponses) ? inputResponses[QUESTION] : undefined
  return isObject(answer) && answer.action === 'accept' ? ok(plain) : refuse('approval_required')
}

/** What a state stands for: the same method, name and arguments. */
function stateOf(request: Request): string {
  const { name, uri } = request.params
  return `${request.method} ${String(name ?? uri)} ${digestOf(request).sha256}`
}
