import type { ServerResponse } from 'node:http'
import { REASONS, type Reason, type Refusal, type RequestId } from '@caracal/core'
import { lingerThenClose } from '@caracal/enforcement-point'
import { problem } from '@caracal/service'

/** JSON-RPC id of what is answered; null when it could not be read. */
export type RpcId = string | number | null

/** Codes of JSON-RPC and MCP; what is ours stands in the range that is left to implementations. */
const CODES: Partial<Record<Reason, number>> = {
  malformed_json: -32_700,
  invalid_request: -32_600,
  not_found: -32_602,
  malformed_path: -32_602,
}
const UNAUTHENTICATED = -32_001
const REFUSED = -32_003
const UNAVAILABLE = -32_603

/** A refusal as a JSON-RPC error: why, which request it was (`caracal explain` knows more), and what would help. */
export function rpcError(refusal: Refusal, requestId: RequestId, id: RpcId): Record<string, unknown> {
  const { title, status, fix } = REASONS[refusal.reason]
  const { code, ...more } = refusal.data ?? {}
  return {
    jsonrpc: '2.0',
    id,
    error: {
      code: typeof code === 'number' ? code : (CODES[refusal.reason] ?? codeOf(status)),
      message: refusal.detail === undefined ? title : `${title}: ${refusal.detail}`,
      data: { ...more, reason: refusal.reason, request_id: requestId, ...(fix === undefined ? {} : { fix }) },
    },
  }
}

function codeOf(status: number): number {
  if (status === 401) return UNAUTHENTICATED
  return status < 500 ? REFUSED : UNAVAILABLE
}

export type RpcRefusal = {
  readonly requestId: RequestId
  readonly id: RpcId
  readonly decision: 'allow' | 'deny' | 'hold'
  /** `WWW-Authenticate` for this refusal. */
  readonly challenge: string
}

/** A denial is an error of HTTP and of JSON-RPC, never a result (P-090). When an answer has begun already, the connection is dropped. */
export function sendRpcRefusal(response: ServerResponse, refusal: Refusal, { requestId, id, decision, challenge }: RpcRefusal): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const wire = problem(refusal, { service: 'mcp-adapter', requestId })
  const body = JSON.stringify(rpcError(refusal, requestId, id))
  response.writeHead(wire.status, {
    ...wire.headers,
    ...(wire.status === 401 || refusal.reason === 'insufficient_scope' ? { 'www-authenticate': challenge } : {}),
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'x-request-id': requestId,
    'x-caracal-decision': decision,
  })
  response.end(body)
  lingerThenClose(response)
}
