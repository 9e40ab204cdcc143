import type { FastifyInstance } from 'fastify'
import { answerProbe, type PlainAnswer } from './metrics-listener.ts'
import { openApi } from './openapi.ts'
import type { Probes } from './probes.ts'
import type { RouteRow } from './route.ts'

export type VersionInfo = {
  readonly version: string
  readonly revision?: string
  /** Schema levels this image runs with. */
  readonly schema?: { readonly requires: number; readonly level: number }
}

/** Paths every service answers on its main port without a credential. */
export const SERVICE_PATHS = ['/livez', '/health', '/ready', '/version', '/openapi.json'] as const

/** Probes, `/version` and `/openapi.json` of a fastify service; `/metrics` only when told to (dev). */
export function addServiceRoutes(
  app: FastifyInstance,
  options: {
    readonly service: string
    readonly version: VersionInfo
    readonly probes: Probes
    readonly rows: readonly RouteRow[]
  },
): void {
  const document = JSON.stringify(openApi({ title: `Caracal ${options.service}`, version: options.version.version, rows: options.rows }))
  const fixed = (body: string): PlainAnswer => ({ status: 200, headers: { 'content-type': 'application/json; charset=utf-8' }, body })
  const version = fixed(JSON.stringify({ service: options.service, ...options.version }))
  for (const path of SERVICE_PATHS) {
    app.get(path, async (_request, reply) => {
      const found = path === '/version' ? version : path === '/openapi.json' ? fixed(document) : answerProbe(path, options.probes)
      if (found === undefined) throw new Error(`no answer for ${path}`)
      return reply.code(found.status).headers(found.headers).send(found.body)
    })
  }
}
