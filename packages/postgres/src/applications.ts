import {
  type Application,
  type ApplicationCredential,
  type ApplicationId,
  type CredentialId,
  ok,
  type Result,
  refuse,
  type UnixMillis,
  type ZoneId,
} from '@caracal/core'
import type { Selectable } from 'kysely'
import { revokeApplicationKeys } from './application-keys.ts'
import { json, nullableTimestamp, timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, type PageRequest, toPage } from './page.ts'
import type { ApplicationCredentialsTable, ApplicationsTable } from './tables.ts'
import { archiveRow, type ChangeReason, isFree, storedOf, whyUnchanged } from './versioned-row.ts'

type ApplicationAt = { readonly zone: ZoneId; readonly id: ApplicationId; readonly version: number }

export function toApplication(row: Selectable<ApplicationsTable>): Application {
  return { id: row.id, zone: row.zone, name: row.name, labels: row.labels, ...storedOf(row) }
}

export function toCredential(row: Selectable<ApplicationCredentialsTable>): ApplicationCredential {
  const common = { id: row.id, application: row.application, zone: row.zone, createdAt: row.created_at, expiresAt: row.expires_at }
  if (row.kind === 'secret' && row.digest !== null) return { ...common, kind: 'secret', digest: row.digest }
  if (row.kind === 'jwk' && row.jwk !== null) return { ...common, kind: 'jwk', jwk: row.jwk }
  throw new Error(`credential ${row.id} is neither a secret nor a key`)
}

/** Refuses `conflict` when the name is taken in the zone. */
export async function createApplication(
  db: Queryable,
  application: Pick<Application, 'id' | 'zone' | 'name' | 'labels'>,
  now: UnixMillis,
): Promise<Result<Application, 'conflict'>> {
  const { id, zone, name, labels } = application
  const row = await db
    .insertInto('applications')
    .values({ id, zone, name, labels, created_at: timestamp(now), updated_at: timestamp(now) })
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toApplication(row)) : refuse('conflict', 'the name is taken')
}

export async function findApplication(db: Queryable, zone: ZoneId, id: ApplicationId): Promise<Application | undefined> {
  const row = await live(db, zone).where('id', '=', id).executeTakeFirst()
  return row && toApplication(row)
}

export async function findApplicationByName(db: Queryable, zone: ZoneId, name: string): Promise<Application | undefined> {
  const row = await live(db, zone).where('name', '=', name).executeTakeFirst()
  return row && toApplication(row)
}

/** Oldest first. */
export async function listApplications(db: Queryable, zone: ZoneId, page: PageRequest): Promise<Page<Application>> {
  const rows = await live(db, zone)
    .where('id', '>', (page.after ?? '') as ApplicationId)
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => row.id, toApplication)
}

/** Changes the row if it still has its version. */
export async function updateApplication(
  db: Queryable,
  at: ApplicationAt,
  changes: Partial<Pick<Application, 'name' | 'labels'>>,
  now: UnixMillis,
): Promise<Result<Application, ChangeReason>> {
  const row = await db
    .updateTable('applications')
    .set((eb) => ({ ...changes, version: eb('version', '+', 1), updated_at: timestamp(now) }))
    .where('zone', '=', at.zone)
    .where('id', '=', at.id)
    .where('version', '=', at.version)
    .where('archived_at', 'is', null)
    .where(isFree('applications', 'name', changes.name, at))
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toApplication(row)) : await whyUnchanged(db, 'applications', at)
}

/** Archives the application if it still has its version, forgets its credentials and revokes its keys. */
export async function archiveApplication(
  db: Queryable,
  at: ApplicationAt,
  now: UnixMillis,
): Promise<Result<undefined, 'not_found' | 'version_moved'>> {
  const archived = await archiveRow(db, 'applications', at, now)
  if (archived.ok) {
    await db.deleteFrom('application_credentials').where('zone', '=', at.zone).where('application', '=', at.id).execute()
    await revokeApplicationKeys(db, { zone: at.zone, application: at.id }, now)
  }
  return archived
}

/** Throws a foreign key violation when the application is not of this zone. */
export async function addCredential(db: Queryable, credential: ApplicationCredential): Promise<void> {
  await db
    .insertInto('application_credentials')
    .values({
      id: credential.id,
      zone: credential.zone,
      application: credential.application,
      kind: credential.kind,
      digest: credential.kind === 'secret' ? credential.digest : null,
      jwk: credential.kind === 'jwk' ? json(credential.jwk) : null,
      created_at: timestamp(credential.createdAt),
      expires_at: nullableTimestamp(credential.expiresAt),
    })
    .execute()
}

/** Oldest first. */
export async function listCredentials(db: Queryable, zone: ZoneId, application: ApplicationId): Promise<readonly ApplicationCredential[]> {
  const rows = await db
    .selectFrom('application_credentials')
    .selectAll()
    .where('zone', '=', zone)
    .where('application', '=', application)
    .orderBy('id')
    .execute()
  return rows.map(toCredential)
}

/** Whether there was one. */
export async function removeCredential(db: Queryable, zone: ZoneId, application: ApplicationId, id: CredentialId): Promise<boolean> {
  const row = await db
    .deleteFrom('application_credentials')
    .where('zone', '=', zone)
    .where('application', '=', application)
    .where('id', '=', id)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

function live(db: Queryable, zone: ZoneId) {
  return db.selectFrom('applications').selectAll().where('zone', '=', zone).where('archived_at', 'is', null)
}
