import { ok, type Result, refuse } from '@caracal/core'
import { parseJsonBody } from '@caracal/service'

export type JsonObject = Readonly<Record<string, unknown>>

/** One JSON-RPC 2.0 message, whose members are exactly those that stand there. */
export type Message =
  | {
      readonly kind: 'request'
      readonly id: string | number
      readonly method: string
      readonly params: JsonObject
      readonly whole: JsonObject
    }
  | { readonly kind: 'notification'; readonly method: string; readonly params: JsonObject; readonly whole: JsonObject }
  | { readonly kind: 'response'; readonly whole: JsonObject }

/** What a body carries. A batch is of the oldest revisions only. */
export type Body = { readonly value: unknown; readonly messages: readonly Message[]; readonly batch: boolean }

/** A body of the protocol is read whole, once (P-089). Bytes. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024

/** Each of its messages is decided, recorded and forwarded by itself. */
const MOST_IN_BATCH = 50
const MEMBERS = new Set(['jsonrpc', 'id', 'method', 'params', 'result', 'error'])
/** What an operation is read from: no parser may find it under another spelling. */
const READ_FROM_PARAMS = new Set(['name', 'uri', 'arguments', 'ref', '_meta', 'taskid', 'notifications', 'requeststate', 'inputresponses'])
const SPELLED = new Set(['name', 'uri', 'arguments', 'ref', '_meta', 'taskId', 'notifications', 'requestState', 'inputResponses'])

/**
 * The one parse of a body: strict JSON (every key once), known members only, and no key that differs from a known one in case alone, because
 * some servers take either (P-089). What is wrong is `malformed_json` or `invalid_request`.
 */
export function readBody(bytes: Buffer): Result<Body, 'malformed_json' | 'invalid_request'> {
  const parsed = parseJsonBody(bytes)
  if (!parsed.ok) return parsed
  const { value } = parsed
  const batch = Array.isArray(value)
  const found: readonly unknown[] = batch ? value : [value]
  if (found.length === 0 || found.length > MOST_IN_BATCH) return refuse('invalid_request', `a batch has 1 to ${MOST_IN_BATCH} messages`)
  const messages: Message[] = []
  for (const one of found) {
    const message = readMessage(one)
    if (!message.ok) return message
    messages.push(message.value)
  }
  return ok({ value, messages, batch })
}

function readMessage(value: unknown): Result<Message, 'invalid_request'> {
  if (!isObject(value) || value.jsonrpc !== '2.0') return refuse('invalid_request', 'not a JSON-RPC 2.0 message')
  if (Object.keys(value).some((key) => !MEMBERS.has(key))) return refuse('invalid_request', 'a JSON-RPC message has no such member')
  const { id, method, params = {} } = value
  if (method === undefined) return readResponse(value)
  if (typeof method !== 'string' || method === '' || method.length > 128) return refuse('invalid_request', 'method is not a method')
  if ('result' in value || 'error' in value) return refuse('invalid_request', 'a request has neither result nor error')
  if (!isObject(params)) return refuse('invalid_request', 'params is not an object')
  if (Object.keys(params).some((key) => READ_FROM_PARAMS.has(key.toLowerCase()) && !SPELLED.has(key)))
    return refuse('invalid_request', 'a member of params is a known one in another spelling')
  if (!('id' in value)) return ok({ kind: 'notification', method, params, whole: value })
  if (!isId(id)) return refuse('invalid_request', 'id is neither a text nor a number')
  return ok({ kind: 'request', id, method, params, whole: value })
}

function readResponse(value: JsonObject): Result<Message, 'invalid_request'> {
  const answers = ('result' in value ? 1 : 0) + ('error' in value ? 1 : 0)
  if (answers !== 1 || 'params' in value || !(isId(value.id) || value.id === null))
    return refuse('invalid_request', 'not a JSON-RPC response')
  return ok({ kind: 'response', whole: value })
}

function isId(id: unknown): id is string | number {
  return (typeof id === 'string' && id.length <= 1024) || (typeof id === 'number' && Number.isSafeInteger(id))
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
