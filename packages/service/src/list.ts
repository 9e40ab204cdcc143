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
  sign(after: string, binding: CursorBinding): string
  /** The key again; undefined without a cursor. */
  open(cursor: string | undefined, binding: CursorBinding): Result<string | undefined, 'invalid_request'>
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
      const payload = Buffer.from(after).toString('base64url')
      return `${payload}.${tag(payload, binding).toString('base64url')}`
    },
    open(cursor, binding) {
      if (cursor === undefined) return ok(undefined)
      const [payload = '', given = '', ...rest] = cursor.split('.')
      const mac = Buffer.from(given, 'base64url')
      if (rest.length > 0 || mac.length !== 16 || !timingSafeEqual(mac, tag(payload, binding))) {
        return refuse('invalid_request', 'the cursor is not one of this list')
      }
      return ok(Buffer.from(payload, 'base64url').toString())
    },
  }
}

/** The body of a list: the items, and a cursor behind the last when there are more. `next` must order the rows exactly, e.g. the id. */
export function listReply<T>(
  found: { readonly items: readonly T[]; readonly next: string | null },
  cursors: Cursors,
  binding: CursorBinding,
): { items: T[]; next_cursor: string | null } {
  return { items: [...found.items], next_cursor: found.next === null ? null : cursors.sign(found.next, binding) }
}
