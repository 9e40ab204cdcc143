import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import { canonicalJson, ok, type Result, refuse } from '@caracal/core'
import Type, { type TSchema } from 'typebox'

/** Query parameters of every list (P-127). Spread into a row's query schema. */
export const LIST_QUERY = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100, description: 'At most this many items' })),
  cursor: Type.Optional(Type.String({ minLength: 1, maxLength: 1024, description: '`next_cursor` of the page before' })),
}

/** The shape of every list. `next_cursor` is null at the end. */
export function ListOf<T extends TSchema>(item: T) {
  return Type.Object({ items: Type.Array(item), next_cursor: Type.Union([Type.String(), Type.Null()]) })
}

/** What a cursor is bound to: used with another row, zone or filter it is refused. */
export type CursorBinding = { readonly route: string; readonly zone: string | null; readonly filter: Readonly<Record<string, unknown>> }

export type Cursors = {
  /** The key of the last item shown, as an opaque signed text. */
  sign(after: readonly string[], binding: CursorBinding): string
  open(cursor: string | undefined, binding: CursorBinding): Result<readonly string[] | null, 'invalid_request'>
}

/** Signed keyset cursors under a key derived from a secret that all replicas share. */
export function createCursors(secret: Uint8Array): Cursors {
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'caracal list cursor v1', 32))
  const tag = (after: string, binding: CursorBinding) =>
    createHmac('sha256', key)
      .update(canonicalJson({ after, route: binding.route, zone: binding.zone, filter: binding.filter }))
      .digest()
      .subarray(0, 16)
  return {
    sign(after, binding) {
      const payload = Buffer.from(JSON.stringify(after)).toString('base64url')
      return `${payload}.${tag(payload, binding).toString('base64url')}`
    },
    open(cursor, binding) {
      if (cursor === undefined) return ok(null)
      const [payload = '', given = '', ...rest] = cursor.split('.')
      const mac = Buffer.from(given, 'base64url')
      if (rest.length > 0 || mac.length !== 16 || !timingSafeEqual(mac, tag(payload, binding))) {
        return refuse('invalid_request', 'the cursor is not one of this list')
      }
      return ok(JSON.parse(Buffer.from(payload, 'base64url').toString()) as readonly string[])
    },
  }
}

/**
 * One page out of `limit + 1` rows: the extra row only proves that there is more.
 * `keyOf` must give a key that orders the rows exactly, e.g. the id.
 */
export function page<T>(
  rows: readonly T[],
  limit: number,
  keyOf: (row: T) => readonly string[],
  cursors: Cursors,
  binding: CursorBinding,
): { items: T[]; next_cursor: string | null } {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  return { items, next_cursor: rows.length > limit && last !== undefined ? cursors.sign(keyOf(last), binding) : null }
}
