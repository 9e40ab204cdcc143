import type { RevocationKind, UnixMillis } from '@caracal/core'
import { type Page, type Queryable, revokedAmong } from '@caracal/postgres'

/** A row as it is read: `revokedAt` when it is revoked, which it stays until somebody deletes it and makes another. */
export type Marked<T> = T & { readonly revokedAt?: UnixMillis }

type Row = { readonly id: string; readonly zone?: string }

/** Says of rows of one kind which of them are revoked, in one statement for all; a row without `zone` is a zone. */
export function markRevoked(db: Queryable, kind: RevocationKind) {
  const mark = async <T extends Row>(rows: readonly T[]): Promise<readonly Marked<T>[]> => {
    if (rows.length === 0) return rows
    const zones = [...new Set(rows.map((row) => row.zone ?? row.id))]
    const ids = rows.map((row) => row.id)
    const revoked = await revokedAmong(db, zones, kind, ids)
    return rows.map((row) => {
      const revokedAt = revoked.get(row.id)
      return revokedAt === undefined ? row : { ...row, revokedAt }
    })
  }
  return {
    page: async <T extends Row>(found: Promise<Page<T>>): Promise<Page<Marked<T>>> => {
      const { items, next } = await found
      return { items: await mark(items), next }
    },
    one: async <T extends Row>(found: Promise<T | undefined>): Promise<Marked<T> | undefined> => {
      const row = await found
      return row === undefined ? undefined : (await mark([row]))[0]
    },
  }
}
