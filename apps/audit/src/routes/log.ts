import { ok, refuse, type ZoneId } from '@caracal/core'
import {
  consistencyProof,
  encodeEntryBundle,
  formatVerifierKey,
  logOrigin,
  parseTilePath,
  TILE_WIDTH,
  type TileAddress,
  tileWidth,
} from '@caracal/ledger'
import { type LogCheckpoint, latestCheckpoint, readEntries } from '@caracal/postgres'
import { Problem, type RouteRow, raw, role, route } from '@caracal/service'
import Type from 'typebox'
import { logVerifiers } from '../keys/log-key.ts'
import { storedTree } from '../stored-tree.ts'
import { type AuditDesk, badQuery, WHOLE_NUMBER, zoneOf } from './desk.ts'

/** What stands once stands for ever; it is still for whoever asked only. */
const FOREVER = { 'cache-control': 'private, max-age=31536000, immutable' }
const NOW = { 'cache-control': 'no-store' }

/** The log itself in the layout of C2SP tlog-tiles, so that foreign tools read it (base: `/v1/zones/{zone}/log`). */
export function logRoutes(desk: AuditDesk): RouteRow[] {
  const { database, settings, reads } = desk
  const read = { who: role('auditor'), exposure: 'public', refusal: badQuery } as const
  return [
    route({
      ...read,
      method: 'GET',
      path: '/v1/zones/:zone/log/checkpoint',
      summary: 'The latest checkpoint: a C2SP signed note',
      reply: { 200: null, 404: Problem('not_found') },
      async handle(request) {
        const checkpoint = await latest(desk, zoneOf(request))
        return checkpoint === undefined ? refuse('not_found') : raw('text/plain; charset=utf-8', checkpoint.note, { headers: NOW })
      },
    }),
    route({
      ...read,
      method: 'GET',
      path: '/v1/zones/:zone/log/keys',
      summary: 'Origin and public keys of the log, oldest first',
      reply: { 200: Type.Object({ origin: Type.String(), vkeys: Type.Array(Type.String()) }), 404: Problem('not_found') },
      async handle(request) {
        const zone = zoneOf(request)
        if ((await latest(desk, zone)) === undefined) return refuse('not_found')
        const vkeys = (await logVerifiers(database.query, settings, zone)).map(formatVerifierKey)
        return ok({ origin: logOrigin(settings.issuerUrl, zone), vkeys })
      },
    }),
    route({
      ...read,
      method: 'GET',
      path: '/v1/zones/:zone/log/proof/consistency',
      summary: 'Proof that the log of size `second` extends the one of size `first` (RFC 9162)',
      query: Type.Object({ first: Type.String(WHOLE_NUMBER), second: Type.String(WHOLE_NUMBER) }),
      reply: {
        200: Type.Object({ first: Type.Integer(), second: Type.Integer(), hashes: Type.Array(Type.String({ description: 'base64' })) }),
        400: Problem('invalid_request'),
        404: Problem('not_found'),
      },
      async handle(request) {
        const zone = zoneOf(request)
        const first = Number(request.query.first)
        const second = Number(request.query.second)
        const checkpoint = await latestCheckpoint(database.query, zone)
        if (checkpoint === undefined) return refuse('not_found')
        if (first > second || second > checkpoint.size) return refuse('invalid_request', 'first ≤ second ≤ size of the latest checkpoint')
        const proof = await consistencyProof(storedTree(database.query, zone), first, second)
        return ok({ first, second, hashes: proof.map((hash) => Buffer.from(hash).toString('base64')) })
      },
    }),
    route({
      ...read,
      method: 'GET',
      path: '/v1/zones/:zone/log/tile/*',
      summary: 'A tile of hashes, or a bundle of entries, by its C2SP path',
      reply: { 200: null, 404: Problem('not_found') },
      async handle(request) {
        const zone = zoneOf(request)
        const tile = parseTilePath(/\/log\/(tile\/[^?]*)/.exec(request.url)?.[1] ?? '')
        const size = (await latestCheckpoint(database.query, zone))?.size ?? 0
        if (tile === undefined || tile.width > tileWidth(tile.level === 'entries' ? 0 : tile.level, tile.index, size))
          return refuse('not_found')
        if (tile.level === 'entries') await reads.read(request, zone, 'entries')
        return raw('application/octet-stream', await tileBytes(desk, zone, tile), { headers: FOREVER })
      },
    }),
  ]
}

async function latest({ database, checkpoints }: AuditDesk, zone: ZoneId): Promise<LogCheckpoint | undefined> {
  return (await latestCheckpoint(database.query, zone)) ?? (await checkpoints.publish(zone))
}

async function tileBytes({ database }: AuditDesk, zone: ZoneId, { level, index, width }: TileAddress): Promise<Uint8Array> {
  if (level !== 'entries') return await storedTree(database.query, zone).readTile(level, index, width)
  const from = index * TILE_WIDTH
  const entries = await readEntries(database.query, zone, from, from + width)
  if (entries.length !== width) throw new Error(`the log of ${zone} lacks entries of ${from} to ${from + width}`)
  return encodeEntryBundle(entries.map(({ event }) => Buffer.from(event)))
}
