import { EVENT_TYPES, type EventType, isId, ok, REASONS, type Reason, refuse, type UnixMillis, type ZoneId } from '@caracal/core'
import { inclusionProof, logOrigin } from '@caracal/ledger'
import {
  type EventFilter,
  findCheckpoint,
  findEntry,
  type LogEntry,
  latestCheckpoint,
  searchEntries,
  searchedValue,
} from '@caracal/postgres'
import { LIST_QUERY, ListOf, listReply, Problem, type RouteRow, raw, role, route } from '@caracal/service'
import Type from 'typebox'
import { storedTree } from '../stored-tree.ts'
import { type AuditDesk, badQuery, WHOLE_NUMBER, zoneOf } from './desk.ts'

const SEARCH = 'GET /v1/zones/:zone/events'

/** One entry: its index in the log and the exact text that was signed and hashed. */
const Entry = Type.Object({
  index: Type.Integer(),
  id: Type.String(),
  type: Type.String(),
  time: Type.String(),
  event: Type.String({ description: 'The exact text; its bytes are what is hashed' }),
})

const words = <T extends string>(values: readonly T[]) => Type.Union(values.map((value) => Type.Literal(value)))
const text = Type.Optional(Type.String({ minLength: 1, maxLength: 2048 }))
const moment = (what: string) => Type.Optional(Type.String({ maxLength: 40, description: `RFC 3339; ${what}` }))

const Search = Type.Object({
  ...LIST_QUERY,
  order: Type.Optional(
    Type.Union([Type.Literal('asc'), Type.Literal('desc')], { description: 'By place in the log; newest first when absent' }),
  ),
  type: Type.Optional(words(Object.keys(EVENT_TYPES) as EventType[])),
  application: text,
  session: text,
  subject: text,
  resource: text,
  decision: Type.Optional(words(['allow', 'hold', 'deny'])),
  reason: Type.Optional(words(Object.keys(REASONS) as Reason[])),
  request_id: text,
  jti: text,
  from: moment('events from this time on'),
  to: moment('events before this time'),
})

/** Search, single events and their proofs. */
export function eventRoutes(desk: AuditDesk): RouteRow[] {
  const { database, checkpoints, reads, cursors, settings } = desk
  const read = { who: role('auditor'), exposure: 'public', refusal: badQuery } as const
  return [
    route({
      ...read,
      method: 'GET',
      path: '/v1/zones/:zone/events',
      summary: 'Search the evidence of a zone',
      audit: 'evidence.read',
      query: Search,
      reply: { 200: ListOf(Entry), 400: Problem('invalid_request') },
      async handle(request) {
        const zone = zoneOf(request)
        const { limit = 100, cursor, order = 'desc', ...asked } = request.query
        const from = timeOf(asked.from)
        const to = timeOf(asked.to)
        if (from === null || to === null) return refuse('invalid_request', `${from === null ? 'from' : 'to'} is not an RFC 3339 time`)
        const filter: EventFilter = {
          type: asked.type,
          application: searched(asked.application),
          session: searched(asked.session),
          subject: searched(asked.subject),
          resource: searched(asked.resource),
          decision: asked.decision,
          reason: asked.reason,
          requestId: searched(asked.request_id),
          jti: searched(asked.jti),
          from,
          to,
        }
        const binding = { route: SEARCH, zone, filter: { order, ...asked } }
        const opened = cursors.open(cursor, binding)
        if (!opened.ok) return opened
        await reads.read(request, zone, 'events')
        const after = opened.value === undefined ? undefined : Number(opened.value)
        const found = await searchEntries(database.query, zone, filter, { after, limit, order })
        return ok(listReply({ items: found.items.map(shown), next: found.next }, cursors, binding))
      },
    }),
    route({
      ...read,
      method: 'GET',
      path: '/v1/zones/:zone/events/:id',
      summary: 'One event: its exact bytes; its index in the log is in the header X-Caracal-Log-Index',
      audit: 'evidence.read',
      reply: { 200: null, 404: Problem('not_found') },
      async handle(request) {
        const zone = zoneOf(request)
        const entry = await entryOf(desk, zone, request.url)
        if (entry === undefined) return refuse('not_found')
        await reads.read(request, zone, 'event')
        return raw('application/json', entry.event, { headers: { 'x-caracal-log-index': String(entry.seq), 'cache-control': 'no-store' } })
      },
    }),
    route({
      ...read,
      method: 'GET',
      path: '/v1/zones/:zone/events/:id/proof',
      summary: 'One event with the proof that it is in the log that the checkpoint signs (RFC 9162)',
      audit: 'evidence.read',
      query: Type.Object({
        size: Type.Optional(Type.String({ ...WHOLE_NUMBER, description: 'Size of a published checkpoint; the latest when absent' })),
      }),
      reply: {
        200: Type.Object({
          origin: Type.String(),
          index: Type.Integer(),
          size: Type.Integer(),
          checkpoint: Type.String({ description: 'C2SP signed note' }),
          hashes: Type.Array(Type.String({ description: 'base64' })),
          event: Type.String(),
        }),
        404: Problem('not_found'),
      },
      async handle(request) {
        const zone = zoneOf(request)
        const entry = await entryOf(desk, zone, request.url)
        if (entry === undefined) return refuse('not_found')
        await reads.read(request, zone, 'proof')
        const size = request.query.size === undefined ? undefined : Number(request.query.size)
        let checkpoint =
          size === undefined ? await latestCheckpoint(database.query, zone) : await findCheckpoint(database.query, zone, size)
        // A fresh event need not wait for the next round.
        if (size === undefined && (checkpoint?.size ?? 0) <= entry.seq) checkpoint = await checkpoints.publish(zone)
        if (checkpoint === undefined || checkpoint.size <= entry.seq) return refuse('not_found', 'no checkpoint covers the event')
        const proof = await inclusionProof(storedTree(database.query, zone), entry.seq, checkpoint.size)
        return ok({
          origin: logOrigin(settings.issuerUrl, zone),
          index: entry.seq,
          size: checkpoint.size,
          checkpoint: checkpoint.note,
          hashes: proof.map((hash) => Buffer.from(hash).toString('base64')),
          event: entry.event,
        })
      },
    }),
  ]
}

async function entryOf({ database }: AuditDesk, zone: ZoneId, url: string): Promise<LogEntry | undefined> {
  const id = /\/events\/([^/?]+)/.exec(url)?.[1]
  return isId('event', id) ? await findEntry(database.query, zone, id) : undefined
}

function shown({ seq, id, event }: LogEntry) {
  const { type, time } = JSON.parse(event) as { type: string; time: string }
  return { index: seq, id, type, time, event }
}

/** Milliseconds; undefined when absent, null when it is no time. */
function timeOf(given: string | undefined): UnixMillis | undefined | null {
  if (given === undefined) return undefined
  const whole = /^[12]\d{3}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.(\d{1,6}))?(?:Z|[+-]\d{2}:\d{2})$/.exec(given)
  const at = Date.parse(given)
  if (whole === null || Number.isNaN(at)) return null
  // Date keeps milliseconds; events have microseconds.
  const micros = (whole[1] ?? '').padEnd(6, '0').slice(3)
  return at + Number(micros) / 1000
}

function searched(value: string | undefined): string | undefined {
  return value === undefined ? undefined : searchedValue(value)
}
