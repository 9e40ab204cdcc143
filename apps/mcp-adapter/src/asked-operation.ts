import { ok, type Result, refuse } from '@caracal/core'
import { isObject, type JsonObject, type Message } from './message.ts'

/** What a label of the metrics says. */
export type Kind = 'tool' | 'resource' | 'prompt' | 'list' | 'other'

/**
 * What a message asks for. `operation`: one governed operation. `list`: its answer is narrowed. `guarded`: does nothing by itself, but
 * names things that the caller must be able to call. `passage`: only of the protocol.
 */
export type Asked =
  | {
      readonly as: 'operation'
      readonly kind: Kind
      readonly method: string
      readonly name: string
      /** Undefined: they are no object, and no rule can read them. */
      readonly arguments: JsonObject | undefined
    }
  | { readonly as: 'list'; readonly kind: 'list' }
  | { readonly as: 'guarded'; readonly kind: Kind; readonly names: readonly { readonly method: string; readonly name: string }[] }
  | { readonly as: 'passage'; readonly kind: 'other' }

const PASSAGE: Asked = { as: 'passage', kind: 'other' }
const LISTS = new Set(['tools/list', 'resources/list', 'resources/templates/list', 'prompts/list'])
const OF_THE_PROTOCOL = new Set(['initialize', 'ping', 'server/discover', 'logging/setLevel'])
/** Whoever may read a resource may be told that it changed. */
const LIKE_READING = new Set(['resources/read', 'resources/subscribe', 'resources/unsubscribe'])

/** What a message asks for. A method that is not known here is governed like any other operation: denied unless it is declared (P-088). */
export function askedBy(message: Message): Result<Asked, 'invalid_request'> {
  if (message.kind === 'response') return ok(PASSAGE)
  // Some servers do what a request without an id asks for, and only do not answer.
  if (message.kind === 'notification')
    return message.method.startsWith('notifications/') ? ok(PASSAGE) : refuse('invalid_request', `${message.method} without an id`)
  const { method, params } = message
  if (OF_THE_PROTOCOL.has(method)) return ok(PASSAGE)
  if (LISTS.has(method)) return ok({ as: 'list', kind: 'list' })
  if (method === 'tools/call') return operation('tool', method, params.name, params.arguments)
  if (method === 'prompts/get') return operation('prompt', method, params.name, params.arguments)
  if (LIKE_READING.has(method)) return operation('resource', 'resources/read', params.uri, { uri: params.uri })
  if (method === 'completion/complete') return completion(params)
  if (method === 'subscriptions/listen') return listening(params)
  const name = params.name ?? params.uri ?? params.taskId ?? '-'
  return operation('other', method, name, params)
}

function operation(kind: Kind, method: string, name: unknown, given: unknown): Result<Asked, 'invalid_request'> {
  if (typeof name !== 'string') return refuse('invalid_request', `${method} does not say of what`)
  const args = given === undefined ? {} : isObject(given) ? given : undefined
  return ok({ as: 'operation', kind, method, name, arguments: args })
}

/** Proposals for arguments say something of what they are arguments of. */
function completion({ ref }: JsonObject): Result<Asked, 'invalid_request'> {
  if (isObject(ref) && ref.type === 'ref/prompt' && typeof ref.name === 'string')
    return ok({ as: 'guarded', kind: 'prompt', names: [{ method: 'prompts/get', name: ref.name }] })
  if (isObject(ref) && ref.type === 'ref/resource' && typeof ref.uri === 'string')
    return ok({ as: 'guarded', kind: 'resource', names: [{ method: 'resources/templates/list', name: ref.uri }] })
  return refuse('invalid_request', 'completion/complete does not say of what')
}

function listening({ notifications }: JsonObject): Result<Asked, 'invalid_request'> {
  const uris = isObject(notifications) ? (notifications.resourceSubscriptions ?? []) : []
  if (!Array.isArray(uris) || uris.length > 256 || !uris.every((uri) => typeof uri === 'string'))
    return refuse('invalid_request', 'resourceSubscriptions is not a list of URIs')
  return ok({ as: 'guarded', kind: 'resource', names: uris.map((name: string) => ({ method: 'resources/read', name })) })
}
