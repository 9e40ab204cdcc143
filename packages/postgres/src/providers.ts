import { ok, type Provider, type ProviderId, type ProviderMethod, type Result, refuse, type UnixMillis, type ZoneId } from '@caracal/core'
import type { Selectable } from 'kysely'
import { json, nullableTimestamp, timestamp } from './column.ts'
import type { Queryable } from './database.ts'
import { type Page, type PageRequest, toPage } from './page.ts'
import type { ProvidersTable } from './tables.ts'
import { archiveRow, type ChangeReason, isFree, storedOf, whyUnchanged } from './versioned-row.ts'

const NO_SECRET = { sealed_secret: null, sealed_version: null, secret_digest: null }

type ProviderAt = { readonly zone: ZoneId; readonly id: ProviderId; readonly version: number }

/** A sealed secret; `version` is bound into its additional data, so an older envelope cannot be put back. */
export type SealedSecret = { readonly sealed: string; readonly version: number }

/** One to be stored. `digest` tells later whether an applied secret is the same; null when it is not known yet. */
export type NewSecret = SealedSecret & { readonly digest: string | null }

export type ProviderFields = Pick<Provider, 'name' | 'hosts' | 'expiresAt'> & { readonly method: ProviderMethod }

export function toProvider(row: Selectable<ProvidersTable>): Provider {
  return { id: row.id, zone: row.zone, name: row.name, hosts: row.hosts, expiresAt: row.expires_at, ...storedOf(row), ...row.method }
}

/** Refuses `conflict` when the name is taken in the zone. */
export async function createProvider(
  db: Queryable,
  provider: ProviderFields & { readonly id: ProviderId; readonly zone: ZoneId; readonly secret: NewSecret | null },
  now: UnixMillis,
): Promise<Result<Provider, 'conflict'>> {
  const row = await db
    .insertInto('providers')
    .values({
      id: provider.id,
      zone: provider.zone,
      name: provider.name,
      hosts: provider.hosts,
      method: json(provider.method),
      expires_at: nullableTimestamp(provider.expiresAt),
      sealed_secret: provider.secret?.sealed ?? null,
      sealed_version: provider.secret?.version ?? null,
      secret_digest: provider.secret?.digest ?? null,
      created_at: timestamp(now),
      updated_at: timestamp(now),
    })
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toProvider(row)) : refuse('conflict', 'the name is taken')
}

export async function findProvider(db: Queryable, zone: ZoneId, id: ProviderId): Promise<Provider | undefined> {
  const row = await live(db, zone).where('id', '=', id).executeTakeFirst()
  return row && toProvider(row)
}

export async function findProviderByName(db: Queryable, zone: ZoneId, name: string): Promise<Provider | undefined> {
  const row = await live(db, zone).where('name', '=', name).executeTakeFirst()
  return row && toProvider(row)
}

/** Oldest first. */
export async function listProviders(db: Queryable, zone: ZoneId, page: PageRequest): Promise<Page<Provider>> {
  const rows = await live(db, zone)
    .where('id', '>', (page.after ?? '') as ProviderId)
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()
  return toPage(rows, page.limit, (row) => row.id, toProvider)
}

/** Changes the row if it still has its version. A `secret` that is not given stays; null removes it. */
export async function updateProvider(
  db: Queryable,
  at: ProviderAt,
  changes: Partial<ProviderFields> & { readonly secret?: NewSecret | null },
  now: UnixMillis,
): Promise<Result<Provider, ChangeReason>> {
  const { name, hosts, method, expiresAt, secret } = changes
  const row = await db
    .updateTable('providers')
    .set((eb) => ({
      ...(name === undefined ? {} : { name }),
      ...(hosts === undefined ? {} : { hosts }),
      ...(method === undefined ? {} : { method: json(method) }),
      ...(expiresAt === undefined ? {} : { expires_at: nullableTimestamp(expiresAt) }),
      ...(secret === undefined
        ? {}
        : { sealed_secret: secret?.sealed ?? null, sealed_version: secret?.version ?? null, secret_digest: secret?.digest ?? null }),
      version: eb('version', '+', 1),
      updated_at: timestamp(now),
    }))
    .where('zone', '=', at.zone)
    .where('id', '=', at.id)
    .where('version', '=', at.version)
    .where('archived_at', 'is', null)
    .where(isFree('providers', 'name', name, at))
    .returningAll()
    .executeTakeFirst()
  return row ? ok(toProvider(row)) : await whyUnchanged(db, 'providers', at)
}

/** The sealed secret, null when there is none; undefined when there is no such provider. */
export async function findProviderSecret(db: Queryable, zone: ZoneId, id: ProviderId): Promise<SealedSecret | null | undefined> {
  const row = await live(db, zone).where('id', '=', id).executeTakeFirst()
  return row && sealedSecretOf(row)
}

export function sealedSecretOf(row: Pick<Selectable<ProvidersTable>, 'sealed_secret' | 'sealed_version'>): SealedSecret | null {
  return row.sealed_secret === null || row.sealed_version === null ? null : { sealed: row.sealed_secret, version: row.sealed_version }
}

/** Which secrets the zone's providers have: their versions and digests. */
export async function listProviderSecrets(
  db: Queryable,
  zone: ZoneId,
): Promise<ReadonlyMap<ProviderId, { readonly version: number; readonly digest: string | null }>> {
  const rows = await live(db, zone).where('sealed_secret', 'is not', null).execute()
  return new Map(rows.map((row) => [row.id, { version: row.sealed_version ?? 0, digest: row.secret_digest }]))
}

/** Notes the digest of the secret that stands there in this version; one that was replaced meanwhile is left alone. */
export async function noteSecretDigest(db: Queryable, zone: ZoneId, id: ProviderId, version: number, digest: string): Promise<void> {
  await db
    .updateTable('providers')
    .set({ secret_digest: digest })
    .where('zone', '=', zone)
    .where('id', '=', id)
    .where('sealed_version', '=', version)
    .execute()
}

/** Archives the provider if it still has its version, and forgets its secret. Refuses `conflict` while a resource uses it. */
export async function archiveProvider(
  db: Queryable,
  at: ProviderAt,
  now: UnixMillis,
): Promise<Result<undefined, 'not_found' | 'version_moved' | 'conflict'>> {
  const user = await db
    .selectFrom('resources')
    .select('name')
    .where('zone', '=', at.zone)
    .where('provider', '=', at.id)
    .where('archived_at', 'is', null)
    .executeTakeFirst()
  if (user) return refuse('conflict', `resource ${user.name} uses it`)
  const archived = await archiveRow(db, 'providers', at, now)
  if (archived.ok) await db.updateTable('providers').set(NO_SECRET).where('id', '=', at.id).execute()
  return archived
}

function live(db: Queryable, zone: ZoneId) {
  return db.selectFrom('providers').selectAll().where('zone', '=', zone).where('archived_at', 'is', null)
}
