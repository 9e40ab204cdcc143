import { refuse, type ZoneId } from '@caracal/core'
import { type Selection, writeBundle } from '@caracal/ledger'
import { inZone, latestCheckpoint, type Queryable, readEntries } from '@caracal/postgres'
import { Problem, type RouteRow, raw, role, route } from '@caracal/service'
import Type from 'typebox'
import { logVerifiers } from '../keys/log-key.ts'
import { policiesInForce } from '../reading/policies-in-force.ts'
import { storedTree } from '../stored-tree.ts'
import { type AuditDesk, badQuery, zoneOf } from './desk.ts'

/** Entries read at once: memory stays at some 16 MiB for the largest events. */
const CHUNK = 256

/** The evidence bundle: everything an offline verifier needs (4-evidence, Out). Cut by index, so that nothing is missed at an edge (P-108). */
export function exportRoutes(desk: AuditDesk): RouteRow[] {
  const { database, checkpoints, settings, reads, metrics } = desk
  return [
    route({
      method: 'POST',
      path: '/v1/zones/:zone/exports',
      who: role('auditor'),
      exposure: 'public',
      refusal: badQuery,
      summary: 'A signed evidence bundle of the log or of the indexes [from, to)',
      audit: 'evidence.read',
      body: Type.Object({
        from: Type.Optional(Type.Integer({ minimum: 0, description: 'First index; 0 when absent' })),
        to: Type.Optional(Type.Integer({ minimum: 0, description: 'Index behind the last; the size of the checkpoint when absent' })),
      }),
      reply: { 200: null, 400: Problem('invalid_request'), 404: Problem('not_found') },
      async handle(request) {
        const zone = zoneOf(request)
        // Also what came a moment ago. A log that is not signed any more is exported up to where it was.
        const checkpoint = (await checkpoints.publish(zone)) ?? (await latestCheckpoint(database.query, zone))
        if (checkpoint === undefined) return refuse('not_found')
        const { from = 0, to = checkpoint.size } = request.body ?? {}
        if (from > to || to > checkpoint.size)
          return refuse('invalid_request', `from ≤ to ≤ ${checkpoint.size}, the size of the checkpoint`)
        await reads.each(request, { zone, type: 'evidence.read', details: { what: 'export', from, to, size: checkpoint.size } })
        metrics.exports.inc()
        const selection: Selection = { kind: 'range', from, to }
        const bundle = writeBundle({
          checkpoint: checkpoint.note,
          keys: await logVerifiers(database.query, settings, zone),
          selection,
          events: entriesOf(database.query, zone, from, to),
          attachments: await policiesInForce(database.query, zone),
          source: storedTree(database.query, zone),
        })
        const name = `${zone}-${from}-${to}.caracal-evidence.jsonl`
        return raw('application/jsonl', bundle, {
          headers: { 'content-disposition': `attachment; filename="${name}"`, 'cache-control': 'no-store' },
        })
      },
    }),
  ]
}

async function* entriesOf(db: Queryable, zone: ZoneId, from: number, to: number) {
  for (let at = from; at < to; at += CHUNK) {
    for (const { seq, event } of await inZone(zone, () => readEntries(db, zone, at, Math.min(at + CHUNK, to)))) yield { index: seq, event }
  }
}
