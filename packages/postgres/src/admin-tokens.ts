import { type AdminToken, ok, type Result, refuse, type TokenId, type UnixMillis, type ZoneId } from '@caracal/core'
import type { Selectable } from 'kysely'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, type PageRequest, toPage } from './page.ts'
import type { AdminTokensTable } from './tables.ts'

function toAdminToken(row: Selectable<AdminTokensTable>): AdminToken {
  return { id: row.id, name: row.name, roles: row.roles, zone: row.zone, createdAt: row.created_at, expiresAt: row.expires_at }
}

/** `digest`: SHA-256 of the token, hex. Refuses `conflict` when a token that is not revoked has the name. */
export async function createAdminToken(
  db: Queryable,
  token: Omit<AdminToken, 'createdAt'> & { readonly digest: string; readonly createdBy: string },
  now: UnixMillis,
): Promise<Result<AdminToken, 'conflict'>> {
  const row = await db
    .insertInto('admin_tokens')
    .values({
      id: token.id,
      name: token.name,
      digest: token.digest,
      roles: token.roles,
      zone: token.zone,
      created_at: timestamp(now),
      created_by: token.createdBy,
      expires_at: timestamp(token.expiresAt),
    })
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toAdminToken(row)) : refuse('conflict', 'the name is taken')
}

/** The token with this digest if it works now: neither revoked nor expired. */
export async function findUsableAdminToken(db: Queryable, digest: string, now: UnixMillis): Promise<AdminToken | undefined> {
  const row = await db
    .selectFrom('admin_tokens')
    .selectAll()
    .where('digest', '=', digest)
    .where('revoked_at', 'is', null)
    .where('expires_at', '>', timestamp(now))
    .executeTakeFirst()
  return row && toAdminToken(row)
}

/** Tokens that are not revoked, expired ones included, oldest first; only those for one zone when it is named. */
export async function listAdminTokens(db: Queryable, page: PageRequest, zone?: ZoneId): Promise<Page<AdminToken>> {
  const rows = await db
    .selectFrom('admin_tokens')
    .selectAll()
    .where('revoked_at', 'is', null)
    .$if(zone !== undefined, (q) => q.where('zone', '=', zone as ZoneId))
    .where('id', '>', (page.after ?? '') as TokenId)
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => row.id, toAdminToken)
}

export async function findAdminToken(db: Queryable, id: TokenId): Promise<AdminToken | undefined> {
  const row = await db.selectFrom('admin_tokens').selectAll().where('id', '=', id).where('revoked_at', 'is', null).executeTakeFirst()
  return row && toAdminToken(row)
}

/** Whether there was one to revoke. */
export async function revokeAdminToken(db: Queryable, id: TokenId, now: UnixMillis): Promise<boolean> {
  const row = await db
    .updateTable('admin_tokens')
    .set({ revoked_at: timestamp(now) })
    .where('id', '=', id)
    .where('revoked_at', 'is', null)
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}
