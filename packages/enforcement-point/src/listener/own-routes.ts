import type { IncomingMessage } from 'node:http'
import { type Refusal, refuse } from '@caracal/core'
import { answerProbe, mayScrape, type PlainAnswer, validNow } from '@caracal/service'
import type { EnforcementPoint } from '../open-enforcement-point.ts'
import { isOnMainPort } from '../run-enforcement-point.ts'
import { answerRefusal, type Handle } from './call-server.ts'

/** Further routes of a role, by path; each answers GET and HEAD. */
export type MoreRoutes = Readonly<Record<string, (request: IncomingMessage) => PlainAnswer | Refusal | Promise<PlainAnswer | Refusal>>>

/** Requests that name no resource: probes and version, metrics where they are asked for here; everything else is not here. */
export function ownRoutes(
  point: Pick<EnforcementPoint, 'role' | 'version' | 'config' | 'probes' | 'metrics'>,
  more: MoreRoutes = {},
): Handle {
  const { role, version, probes, metrics, config } = point
  const find = async (request: IncomingMessage): Promise<PlainAnswer | Refusal> => {
    const path = (request.url ?? '').split('?')[0] ?? ''
    if (path === '/version') return jsonAnswer({ service: role, version })
    if (path === '/metrics' && isOnMainPort(point)) {
      if (!mayScrape(request.headers.authorization, validNow(config.METRICS_BEARER))) return refuse('unauthenticated')
      const { body, contentType } = await metrics.text()
      return { status: 200, headers: { 'content-type': contentType }, body }
    }
    const own = Object.hasOwn(more, path) ? more[path] : undefined
    return own === undefined ? (answerProbe(path, probes) ?? refuse('not_found')) : own(request)
  }
  return async (request, response, requestId) => {
    const found = request.method === 'GET' || request.method === 'HEAD' ? await find(request) : refuse('not_found')
    if (!('body' in found)) return answerRefusal(response, found, { service: role, requestId })
    response.writeHead(found.status, { ...found.headers, 'x-request-id': requestId, 'content-length': Buffer.byteLength(found.body) })
    response.end(request.method === 'HEAD' ? undefined : found.body)
  }
}

/** A small JSON answer that nobody keeps. */
export function jsonAnswer(body: unknown): PlainAnswer {
  return { status: 200, headers: { 'content-type': 'application/json', 'cache-control': 'no-store' }, body: JSON.stringify(body) }
}
