import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { newId, ok, refuse, type ZoneId } from '@caracal/core'
import Type from 'typebox'
import {
  answer,
  anyone,
  bearerToken,
  createLogger,
  createMetrics,
  form,
  oauthError,
  Problem,
  type RouteRow,
  type RunningService,
  raw,
  role,
  roleInAnyZone,
  route,
  type ServiceOptions,
  singleValues,
  startService,
} from './index.ts'

export const ZONE: ZoneId = newId('zone')
export const OTHER: ZoneId = newId('zone')
export const lines: string[] = []

class EvidenceUnavailable extends Error {
  override readonly name = 'EvidenceUnavailable'
}

const rows: RouteRow[] = [
  route({
    method: 'GET',
    path: '/v1/zones/:zone/things/:name',
    who: role('viewer'),
    summary: 'One thing',
    exposure: 'public',
    query: Type.Object({ deep: Type.Optional(Type.Boolean()), limit: Type.Optional(Type.Integer({ maximum: 5, default: 3 })) }),
    params: Type.Object({ zone: Type.String(), name: Type.String({ pattern: '^[a-z/%]+$' }) }),
    reply: { 200: Type.Object({ name: Type.String(), deep: Type.Boolean(), limit: Type.Integer() }), 404: Problem('not_found') },
    handle: (request) => ok({ name: request.params.name, deep: request.query.deep ?? false, limit: request.query.limit ?? 0 }),
  }),
  route({
    method: 'POST',
    path: '/v1/zones/:zone/things',
    who: role('operator'),
    summary: 'Make a thing',
    exposure: 'public',
    rate: 'mutation',
    body: Type.Object({
      name: Type.String({ minLength: 1 }),
      size: Type.Integer({ minimum: 1 }),
      more: Type.Optional(Type.Array(Type.Object({ at: Type.Union([Type.Literal('a'), Type.Literal('b')]) }))),
    }),
    reply: { 201: Type.Object({ name: Type.String() }) },
    handle: (request) => {
      if (request.body.name === 'boom') throw new Error('the database said: password=hunter2hunter2')
      if (request.body.name === 'store') throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
      if (request.body.name === 'evidence') throw new EvidenceUnavailable('no')
      if (request.body.name === 'taken') return refuse('conflict', 'the name is taken')
      return answer(201, { name: request.body.name }, { location: '/x', etag: '"1"' })
    },
  }),
  route({
    method: 'POST',
    path: '/oauth/2/token',
    who: anyone,
    summary: 'Token endpoint',
    exposure: 'public',
    direct: true,
    body: form(),
    reply: { 200: Type.Object({ grant: Type.String() }) },
    refusal: oauthError,
    handle: (request) => {
      const single = singleValues(request.body, ['resource'])
      if (!single.ok) return single
      const grant = single.value.get('grant_type')
      return grant === undefined ? refuse('invalid_client') : ok({ grant })
    },
  }),
  route({
    method: 'GET',
    path: '/v1/slow',
    who: roleInAnyZone('viewer'),
    summary: 'Takes a while',
    exposure: 'cluster',
    reply: { 200: Type.Object({ done: Type.Boolean() }) },
    handle: async () => {
      await sleep(400)
      return ok({ done: true })
    },
  }),
  route({
    method: 'GET',
    path: '/v1/feed',
    who: roleInAnyZone('viewer'),
    summary: 'A stream',
    exposure: 'public',
    reply: { 200: Type.String() },
    handle: (request) =>
      raw(
        'text/event-stream',
        (async function* () {
          yield 'data: one\n\n'
          await new Promise((resolve) => request.signal.addEventListener('abort', resolve, { once: true }))
        })(),
      ),
  }),
]

const tokens: Record<string, { roles: ('viewer' | 'operator' | 'admin')[]; zone: ZoneId | null }> = {
  all: { roles: ['admin'], zone: null },
  view: { roles: ['viewer'], zone: ZONE },
}

export function start(more: Partial<ServiceOptions> = {}): Promise<RunningService> {
  return startService({
    name: 'api',
    version: { version: '1.2.3' },
    host: '127.0.0.1',
    port: 0,
    metricsPort: 0,
    routes: rows,
    authenticator: {
      authenticate(presented) {
        const token = bearerToken(presented.authorization)
        const found = token === undefined ? undefined : tokens[token]
        return found === undefined ? refuse('unauthenticated') : ok({ kind: 'admin', id: 'bootstrap', name: 'x', ...found })
      },
    },
    checks: [],
    metrics: createMetrics({ service: 'api', version: '1.2.3', mode: 'dev' }),
    logger: createLogger({ name: 'api', level: 'debug', write: (line) => lines.push(line) }),
    checkReplies: true,
    ...more,
  })
}

/** Bytes in, bytes out: what no client library would send. */
export function exchange(port: number, bytes: string, quiet = 250): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    let timer = setTimeout(() => socket.destroy(), 5_000)
    socket.on('data', (chunk) => {
      text += chunk
      clearTimeout(timer)
      timer = setTimeout(() => socket.destroy(), quiet)
    })
    socket.on('error', reject)
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(text)
    })
    socket.write(bytes)
  })
}
