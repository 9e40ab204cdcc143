import { isId, ok, refuse, type ZoneId } from '@caracal/core'
import { findLogHead } from '@caracal/postgres'
import { noContent, Problem, type RouteRow, role, route } from '@caracal/service'
import type { Quarantined } from '@caracal/streams'
import Type from 'typebox'
import type { Reader } from '../reading/record-reads.ts'
import { type AuditDesk, badQuery } from './desk.ts'

const STREAM = 'caracal.audit.events'

/** Most records that are looked through for one id. */
const MOST = 1_000

const Item = Type.Object({
  id: Type.String(),
  reason: Type.String(),
  at: Type.String(),
  partition: Type.String(),
  payload: Type.String({ description: 'The message as it came' }),
})

/** What was set aside instead of going into a log: seen by auditors of every zone, decided by administrators (P-113). */
export function quarantineRoutes(desk: AuditDesk): RouteRow[] {
  const { streams, reads } = desk
  /** The zones of records, as far as they are ours: the record may say anything. */
  const zonesOf = async (records: readonly Quarantined[]): Promise<readonly ZoneId[]> => {
    const named = new Set(records.map(({ partition }) => partition).filter((text) => isId('zone', text)))
    const heads = await Promise.all([...named].map((zone) => findLogHead(desk.database.query, zone)))
    return heads.flatMap((head) => head?.zone ?? [])
  }
  const decide = async (request: Reader, id: string, action: 'redrive' | 'discard') => {
    const record = (await streams.quarantine.list(STREAM, MOST)).find((one) => one.id === id)
    if (record === undefined) return refuse('not_found')
    for (const zone of await zonesOf([record])) {
      await reads.each(request, {
        zone,
        type: 'admin.changed',
        target: { kind: 'quarantine', id },
        details: { action, reason: record.reason },
      })
    }
    return (await streams.quarantine[action](STREAM, id)) ? noContent() : refuse('not_found')
  }
  const idOf = (url: string) => decodeURIComponent(/\/quarantine\/([^/?]+)/.exec(url)?.[1] ?? '')
  return [
    route({
      method: 'GET',
      path: '/v1/quarantine',
      who: role('auditor'),
      exposure: 'public',
      refusal: badQuery,
      summary: 'Messages that were set aside, oldest first',
      audit: 'evidence.read',
      query: Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 })) }),
      reply: { 200: Type.Object({ items: Type.Array(Item), next_cursor: Type.Null() }) },
      async handle(request) {
        const records = await streams.quarantine.list(STREAM, request.query.limit ?? 100)
        for (const zone of await zonesOf(records)) await reads.read(request, zone, 'quarantine')
        const items = records.map(({ id, reason, at, partition, payload }) => ({
          id,
          reason,
          at: new Date(at).toISOString(),
          partition,
          payload,
        }))
        return ok({ items, next_cursor: null })
      },
    }),
    route({
      method: 'POST',
      path: '/v1/quarantine/:id/redrive',
      who: role('admin'),
      exposure: 'public',
      summary: 'Hand the message out again',
      audit: 'admin.changed',
      reply: { 204: null, 404: Problem('not_found') },
      handle: (request) => decide(request, idOf(request.url), 'redrive'),
    }),
    route({
      method: 'POST',
      path: '/v1/quarantine/:id/discard',
      who: role('admin'),
      exposure: 'public',
      summary: 'Throw the message away',
      audit: 'admin.changed',
      reply: { 204: null, 404: Problem('not_found') },
      handle: (request) => decide(request, idOf(request.url), 'discard'),
    }),
  ]
}
