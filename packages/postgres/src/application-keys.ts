import {
  type ApplicationId,
  type ApplicationKey,
  type CredentialId,
  ok,
  type Result,
  refuse,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import type { Selectable } from 'kysely'
import { nullableTimestamp, timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import type { ApplicationKeysTable } from './tables.ts'

/** A key as it is kept: `revokedAt` is null while it is not revoked. */
export type KeptApplicationKey = ApplicationKey & { readonly revokedAt: UnixMillis | null }

export function toApplicationKey(row: Selectable<ApplicationKeysTable>): KeptApplicationKey {
  const { id, zone, application, name } = row
  const common = { id, zone, application, name, createdAt: row.created_at, expiresAt: row.expires_at, revokedAt: row.revoked_at }
  if (row.kind === 'api_key' && row.digest !== null) return { ...common, kind: 'api_key', digest: row.digest }
  if (row.kind === 'certificate' && row.certificate !== null) return { ...common, kind: 'certificate', certificate: row.certificate }
  throw new Error(`key ${id} is neither an API key nor a certificate`)
}

/** Refuses `conflict` when the application has a key of that name, or the zone a key for that certificate. */
export async function addApplicationKey(db: Queryable, key: ApplicationKey): Promise<Result<undefined, 'conflict'>> {
  const row = await db
    .insertInto('application_keys')
    .values({
      id: key.id,
      zone: key.zone,
      application: key.application,
      kind: key.kind,
      name: key.name,
      digest: key.kind === 'api_key' ? key.digest : null,
      certificate: key.kind === 'certificate' ? key.certificate : null,
      created_at: timestamp(key.createdAt),
      expires_at: nullableTimestamp(key.expiresAt),
    })
    .onConflict((conflict) => conflict.doNothing())
    .returning('id')
    .executeTakeFirst()
  return row === undefined ? refuse('conflict', 'the name or the certificate is taken') : ok(undefined)
}

/** Oldest first, revoked ones included. */
export async function listApplicationKeys(db: Queryable, zone: ZoneId, application: ApplicationId): Promise<readonly KeptApplicationKey[]> {
  const rows = await db
    .selectFrom('application_keys')
    .selectAll()
    .where('zone', '=', zone)
    .where('application', '=', application)
    .orderBy('id')
    .execute()
  return rows.map(toApplicationKey)
}

/** Any of the zone, revoked or not. */
export async function findApplicationKey(db: Queryable, zone: ZoneId, id: CredentialId): Promise<KeptApplicationKey | undefined> {
  const row = await db.selectFrom('application_keys').selectAll().where('zone', '=', zone).where('id', '=', id).executeTakeFirst()
  return row && toApplicationKey(row)
}

/** Revokes one key, or all of an application. How many there were that were not revoked yet. */
export async function revokeApplicationKeys(
  db: Queryable,
  which: { readonly zone: ZoneId; readonly id: CredentialId } | { readonly zone: ZoneId; readonly application: ApplicationId },
  now: UnixMillis,
): Promise<number> {
  const rows = await db
    .updateTable('application_keys')
    .set({ revoked_at: timestamp(now) })
    .where('zone', '=', which.zone)
    .$if('id' in which, (q) => q.where('id', '=', 'id' in which ? which.id : ('' as CredentialId)))
    .$if('application' in which, (q) => q.where('application', '=', 'application' in which ? which.application : ('' as ApplicationId)))
    .where('revoked_at', 'is', null)
    .returning('id')
    .execute()
  return rows.length
}
