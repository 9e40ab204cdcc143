import type { IncomingMessage } from 'node:http'
import { ok, type Result, refuse } from '@caracal/core'
import { classifyInboundRequest } from '@modelcontextprotocol/server'
import { type Body, isObject, type Message } from './message.ts'

/** `modern`: 2026-07-28 and later, every request for itself. `legacy`: revisions with a handshake and, mostly, a session. */
export type Era = 'modern' | 'legacy'

/** HeaderMismatch of MCP 2026-07-28. */
const HEADER_MISMATCH = -32_020
const NAMED_BY: Readonly<Record<string, 'name' | 'uri' | 'taskId'>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
}
const ENCODED = /^=\?base64\?([A-Za-z0-9+/]*={0,2})\?=$/

/**
 * The revision that a request is of, and that no header says another thing than the body: whoever routes by the one must not let pass what
 * the other asks for (P-089). Refusals carry the code of the protocol.
 */
export function eraOf(
  { headersDistinct, method = '' }: Pick<IncomingMessage, 'headersDistinct' | 'method'>,
  body: Body,
): Result<Era, 'invalid_request'> {
  const headers: Record<string, string | undefined> = {}
  for (const name of ['mcp-protocol-version', 'mcp-method', 'mcp-name']) {
    const values = headersDistinct[name] ?? []
    if (values.length > 1) return mismatch(`${name} stands more than once`)
    headers[name] = values[0]?.trim()
  }
  const version = headers['mcp-protocol-version']
  const key = method === 'POST' ? keyOf(version, body) : null
  let isModern = key === null ? undefined : known.get(key)
  if (isModern === undefined) {
    const found = classifyInboundRequest({
      httpMethod: method,
      ...given('protocolVersionHeader', version),
      ...given('mcpMethodHeader', headers['mcp-method']),
      ...given('mcpNameHeader', headers['mcp-name']),
      body: body.value,
    })
    if (found.kind === 'reject') return refuse('invalid_request', found.message, { code: found.code })
    isModern = found.kind === 'modern'
    if (key !== null) remember(key, isModern)
  }
  for (const message of body.messages) {
    const wrong = contradiction(message, headers['mcp-method'], headers['mcp-name'], isModern)
    if (wrong !== null) return mismatch(wrong)
  }
  return ok(isModern ? 'modern' : 'legacy')
}

/** What the SDK said of requests before, by everything that its answer depends on: a client says the same of itself each time. */
const known = new Map<string, boolean>()
const MOST_KNOWN = 1_000
const LONGEST_KEY = 2_048

function remember(key: string, isModern: boolean): void {
  if (known.size >= MOST_KNOWN) known.clear()
  known.set(key, isModern)
}

/** Version of the header and envelope of the body, without what is of one request alone; null for what is looked at each time. */
function keyOf(version: string | undefined, { batch, messages: [message] }: Body): string | null {
  if (version === undefined || batch || message?.kind !== 'request' || message.method === 'initialize') return null
  const { _meta: meta = {} } = message.params
  if (!isObject(meta)) return null
  const { progressToken = 0, traceparent = '', tracestate = '', baggage = '', ...envelope } = meta
  if (typeof progressToken !== 'string' && !Number.isSafeInteger(progressToken)) return null
  if ([traceparent, tracestate, baggage].some((text) => typeof text !== 'string')) return null
  const key = JSON.stringify([version, envelope])
  return key.length > LONGEST_KEY ? null : key
}

/** In the older revisions nobody has to send these headers; who does must not contradict himself. */
function contradiction(message: Message, method: string | undefined, name: string | undefined, isRequired: boolean): string | null {
  if (message.kind === 'response') return method === undefined && name === undefined ? null : 'a response has no Mcp-Method and no Mcp-Name'
  if (method !== undefined && method !== message.method) return 'Mcp-Method is not the method of the body'
  if (isRequired && message.kind === 'request' && method === undefined) return 'Mcp-Method is required'
  const source = NAMED_BY[message.method]
  const meant = source === undefined ? undefined : message.params[source]
  if (name === undefined) return isRequired && message.kind === 'request' && typeof meant === 'string' ? 'Mcp-Name is required' : null
  if (source === undefined) return null
  return decodedName(name) === meant ? null : 'Mcp-Name is not the name in the body'
}

function decodedName(header: string): string | null {
  const encoded = ENCODED.exec(header)?.[1]
  if (encoded === undefined) return header.startsWith('=?') ? null : header
  const bytes = Buffer.from(encoded, 'base64')
  return bytes.toString('base64') === encoded ? bytes.toString('utf8') : null
}

function mismatch(detail: string): Result<never, 'invalid_request'> & { ok: false } {
  return refuse('invalid_request', detail, { code: HEADER_MISMATCH })
}

function given<K extends string>(key: K, value: string | undefined): Partial<Record<K, string>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, string>)
}
