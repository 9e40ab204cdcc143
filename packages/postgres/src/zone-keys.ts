import type { PublicJwk, UnixMillis, ZoneId } from '@caracal/core'
import type { Selectable } from 'kysely'
import { json, nullableTimestamp, timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import type { ZoneKeysTable } from './tables.ts'
import { lockInZone } from './zones.ts'

export type ZoneKeyKind = 'signing' | 'pepper' | 'log'
export type ZoneKeyState = 'next' | 'current' | 'previous' | 'retired'

/** A key of a zone. `sealed` opens only with the key-encryption keys; `publicJwk` is null for a pepper. */
export type ZoneKey = {
  readonly zone: ZoneId
  readonly kind: ZoneKeyKind
  readonly kid: string
  readonly state: ZoneKeyState
  readonly publicJwk: PublicJwk | null
  readonly sealed: string
  readonly createdAt: UnixMillis
  /** When it may begin to sign. */
  readonly activatesAt: UnixMillis
  /** When a previous key stops being accepted. */
  readonly retiresAt: UnixMillis | null
}

export function toZoneKey(row: Selectable<ZoneKeysTable>): ZoneKey {
  return {
    zone: row.zone,
    kind: row.kind,
    kid: row.kid,
    state: row.state,
    publicJwk: row.public_jwk,
    sealed: row.sealed,
    createdAt: row.created_at,
    activatesAt: row.activates_at,
    retiresAt: row.retires_at,
  }
}

/** Until the transaction ends nobody else makes or rotates keys of this kind in this zone. */
export function lockZoneKeys(tx: Queryable, zone: ZoneId, kind: ZoneKeyKind): Promise<void> {
  return lockInZone(tx, zone, `keys/${kind}`)
}

/** Throws a unique violation when the zone has a `current` (or `next`) key of this kind already. */
export async function insertZoneKey(tx: Queryable, key: ZoneKey): Promise<void> {
  await tx
    .insertInto('zone_keys')
    .values({
      zone: key.zone,
      kind: key.kind,
      kid: key.kid,
      state: key.state,
      public_jwk: key.publicJwk && json(key.publicJwk),
      sealed: key.sealed,
      created_at: timestamp(key.createdAt),
      activates_at: timestamp(key.activatesAt),
      retires_at: nullableTimestamp(key.retiresAt),
    })
    .execute()
}

/** Keys in use (not retired), oldest first; of all kinds unless one is named. */
export async function listZoneKeys(db: Queryable, zone: ZoneId, kind?: ZoneKeyKind): Promise<readonly ZoneKey[]> {
  const rows = await db
    .selectFrom('zone_keys')
    .selectAll()
    .where('zone', '=', zone)
    .where('state', '<>', 'retired')
    .$if(kind !== undefined, (q) => q.where('kind', '=', kind ?? 'signing'))
    .orderBy('created_at')
    .orderBy('kid')
    .execute()
  return rows.map(toZoneKey)
}

/** The public half of every key of this kind that ever was, retired ones included: old checkpoints stay verifiable. Oldest first. */
export async function zoneKeyHistory(db: Queryable, zone: ZoneId, kind: ZoneKeyKind): Promise<readonly Omit<ZoneKey, 'sealed'>[]> {
  const rows = await db
    .selectFrom('zone_keys')
    .selectAll()
    .where('zone', '=', zone)
    .where('kind', '=', kind)
    .orderBy('created_at')
    .orderBy('kid')
    .execute()
  return rows.map((row) => {
    const { sealed: _, ...key } = toZoneKey(row)
    return key
  })
}

/**
 * Turns the zone's keys of a kind by one: `current` becomes `previous` until `previousUntil`, `next` becomes `current`.
 * Returns false and changes nothing when there is no `next`. In a transaction that holds the key lock.
 */
export async function promoteNextKey(tx: Queryable, zone: ZoneId, kind: ZoneKeyKind, previousUntil: UnixMillis): Promise<boolean> {
  const next = await ofKind(tx, zone, kind).select('kid').where('state', '=', 'next').executeTakeFirst()
  if (!next) return false
  const keys = tx.updateTable('zone_keys').where('zone', '=', zone).where('kind', '=', kind)
  await keys
    .set({ state: 'previous', retires_at: timestamp(previousUntil) })
    .where('state', '=', 'current')
    .execute()
  await keys.set({ state: 'current' }).where('kid', '=', next.kid).execute()
  return true
}

/** Retires previous keys whose time is over and destroys their sealed private half. Returns how many. */
export async function retireKeys(tx: Queryable, zone: ZoneId, kind: ZoneKeyKind, now: UnixMillis): Promise<number> {
  const result = await tx
    .updateTable('zone_keys')
    .set({ state: 'retired', sealed: '' })
    .where('zone', '=', zone)
    .where('kind', '=', kind)
    .where('state', '=', 'previous')
    .where('retires_at', '<=', timestamp(now))
    .executeTakeFirst()
  return Number(result.numUpdatedRows)
}

function ofKind(db: Queryable, zone: ZoneId, kind: ZoneKeyKind) {
  return db.selectFrom('zone_keys').where('zone', '=', zone).where('kind', '=', kind)
}
