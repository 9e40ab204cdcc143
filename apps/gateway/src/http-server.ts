import type { Server, ServerResponse } from 'node:http'
import type { Server as TlsServer } from 'node:https'
import type { TlsOptions } from 'node:tls'
import type { Refusal, RequestId } from '@caracal/core'
import { answerRefusal, type CallServerOptions, createCallServer } from '@caracal/enforcement-point'

export type GatewayServerOptions = Omit<CallServerOptions, 'service'>

/** The listener of the data path, in the Gateway's name. */
export function createGatewayServer(options: GatewayServerOptions & { readonly tls: TlsOptions }): TlsServer
export function createGatewayServer(options: GatewayServerOptions): Server
export function createGatewayServer(options: GatewayServerOptions): Server {
  return createCallServer({ ...options, service: 'gateway' })
}

/** Answers in the Gateway's own name. `more`: headers of this answer, e.g. `x-caracal-decision`. */
export function sendRefusal(
  response: ServerResponse,
  refusal: Refusal,
  requestId: RequestId,
  more: Readonly<Record<string, string>> = {},
): void {
  answerRefusal(response, refusal, { service: 'gateway', requestId }, more)
}
