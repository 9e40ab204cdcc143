import { REASONS, type Reason } from '@caracal/core'
import type { TSchema } from 'typebox'
import { isFormBody } from './form.ts'
import { pathParameters, type RouteRow } from './route.ts'
import { strict } from './strict-schema.ts'
import type { Who } from './who.ts'

type Json = Record<string, unknown>

/** OpenAPI 3.1 from the rows alone: what it says is what the route layer enforces (P-128). */
export function openApi(options: { readonly title: string; readonly version: string; readonly rows: readonly RouteRow[] }): Json {
  const paths: Record<string, Json> = {}
  for (const row of options.rows) {
    const path = row.path.replaceAll(/:([A-Za-z0-9_]+)/g, '{$1}').replace(/\*$/, '{rest}')
    paths[path] = { ...paths[path], [row.method.toLowerCase()]: operation(row) }
  }
  return {
    openapi: '3.1.0',
    info: { title: options.title, version: options.version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        internal: { type: 'apiKey', in: 'header', name: 'X-Caracal-Signature' },
      },
      schemas: { Problem: PROBLEM },
    },
  }
}

function operation(row: RouteRow): Json {
  return {
    operationId: operationId(row),
    summary: row.summary,
    'x-caracal-exposure': row.exposure,
    'x-caracal-who': row.who.map(whoText),
    ...(row.audit === undefined ? {} : { 'x-caracal-audit': row.audit }),
    ...(row.rate === undefined ? {} : { 'x-caracal-rate': row.rate }),
    ...(row.who.some((who) => who.kind === 'anyone')
      ? { security: [] }
      : {
          security: [...new Set(row.who.map((who) => (who.kind === 'internal' ? 'internal' : 'bearer')))].map((name) => ({ [name]: [] })),
        }),
    parameters: parameters(row),
    ...(row.body === undefined ? {} : { requestBody: { required: true, content: requestContent(row) } }),
    responses: responses(row),
  }
}

/** `POST /v1/zones/:zone/policies` → `post_v1_zones_zone_policies`: stable, unique, derived. */
export function operationId(row: Pick<RouteRow, 'method' | 'path'>): string {
  return `${row.method.toLowerCase()}${row.path.replaceAll(/[^A-Za-z0-9]+/g, '_')}`.replace(/_$/, '')
}

function whoText(who: Who): string {
  switch (who.kind) {
    case 'anyone':
      return 'anyone'
    case 'role':
      return `role ${who.roles.join(' | ')}${who.reach === 'any' ? ' in any zone' : ''}`
    case 'application':
      return `application with ${who.scopes.join(' ')}`
    case 'internal':
      return `internal ${who.callers.join(' | ')}`
    case 'custom':
      return who.type
  }
}

function parameters(row: RouteRow): Json[] {
  const known = propertiesOf(row.params)
  const found: Json[] = pathParameters(row.path).map((name) => ({
    name,
    in: 'path',
    required: true,
    schema: known.get(name)?.schema ?? { type: 'string' },
  }))
  for (const [name, { schema, required }] of propertiesOf(row.query)) found.push({ name, in: 'query', required, schema })
  if (row.idempotent) {
    found.push({ name: 'Idempotency-Key', in: 'header', required: false, schema: { type: 'string', minLength: 1, maxLength: 255 } })
  }
  return found
}

function propertiesOf(schema: TSchema | undefined): Map<string, { schema: unknown; required: boolean }> {
  const { properties, required } = (schema ?? {}) as { properties?: Record<string, unknown>; required?: readonly string[] }
  return new Map(
    Object.entries(properties ?? {}).map(([name, one]) => [name, { schema: one, required: required?.includes(name) ?? false }]),
  )
}

function requestContent(row: RouteRow): Json {
  if (isFormBody(row.body)) return { 'application/x-www-form-urlencoded': { schema: { type: 'object' } } }
  return { 'application/json': { schema: row.body === undefined ? {} : strict(row.body) } }
}

function responses(row: RouteRow): Json {
  const found: Record<string, Json> = {}
  for (const [status, reply] of Object.entries(row.reply)) {
    if (reply === null) found[status] = { description: 'No content' }
    else if ('problem' in reply) found[status] = problemResponse(reply.problem)
    else
      found[status] = {
        description: (reply as { description?: string }).description ?? 'Success',
        content: { 'application/json': { schema: reply } },
      }
  }
  for (const reason of impliedReasons(row)) {
    const status = String(REASONS[reason].status)
    found[status] ??= problemResponse([reason])
  }
  return found
}

/** What the route layer itself can answer for this row. */
function impliedReasons(row: RouteRow): Reason[] {
  const found: Reason[] = ['internal_error', 'store_unavailable']
  if (!row.who.some((who) => who.kind === 'anyone')) found.push('unauthenticated', 'forbidden')
  if (pathParameters(row.path).length > 0) found.push('not_found')
  if (row.query !== undefined || row.body !== undefined) found.push('validation_failed')
  if (row.body !== undefined) found.push('malformed_json', 'body_too_large', 'unsupported_media_type')
  if (row.rate !== undefined) found.push('rate_limited')
  if (row.idempotent) found.push('idempotency_in_flight')
  return found
}

function problemResponse(reasons: readonly string[]): Json {
  return {
    description: reasons.join(', '),
    content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
  }
}

/** RFC 9457 with our members. */
const PROBLEM = {
  type: 'object',
  required: ['type', 'title', 'status', 'code', 'request_id'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string' },
    detail: { type: 'string' },
    request_id: { type: 'string' },
    fix: { type: 'string' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['in', 'pointer', 'detail'],
        properties: { in: { enum: ['body', 'query', 'header', 'path'] }, pointer: { type: 'string' }, detail: { type: 'string' } },
      },
    },
  },
}
