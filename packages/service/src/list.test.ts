import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createCursors, listReply } from './list.ts'

const cursors = createCursors(randomBytes(32))
const binding = { route: 'GET /v1/zones/:zone/things', zone: 'zon_a', filter: { state: 'active' } }

describe('lists', () => {
  it('[P-127] show every row exactly once, whatever the limit, and end with null', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 1, max: 50 }), (count, limit) => {
        // All in one millisecond: only the id orders them.
        const rows = Array.from({ length: count }, (_, i) => ({ id: `x${String(i).padStart(6, '0')}` }))
        const seen: string[] = []
        let cursor: string | null | undefined
        do {
          const after = cursors.open(cursor ?? undefined, binding)
          if (!after.ok) throw new Error(after.detail)
          const from = after.value
          const rest = rows.filter((row) => from === undefined || row.id > from)
          const items = rest.slice(0, limit)
          const found = listReply({ items, next: rest.length > limit ? (items.at(-1)?.id ?? null) : null }, cursors, binding)
          seen.push(...found.items.map((row) => row.id))
          cursor = found.next_cursor
        } while (cursor !== null)
        expect(seen).toEqual(rows.map((row) => row.id))
      }),
      { numRuns: 50 },
    )
  })

  it('[P-127] refuse a cursor of another list, zone, filter or key, and one that was changed', () => {
    const cursor = cursors.sign('x', binding)
    expect(cursors.open(cursor, binding)).toEqual({ ok: true, value: 'x' })
    expect(cursors.open(undefined, binding)).toEqual({ ok: true, value: undefined })
    for (const other of [
      { ...binding, route: 'GET /v1/other' },
      { ...binding, zone: 'zon_b' },
      { ...binding, zone: null },
      { ...binding, filter: {} },
    ]) {
      expect(cursors.open(cursor, other)).toMatchObject({ ok: false, reason: 'invalid_request' })
    }
    for (const changed of ['', '.', 'x', `${cursor}x`, `x${cursor}`, `${cursor}.x`, cursor.toUpperCase()]) {
      expect(cursors.open(changed, binding)).toMatchObject({ ok: false })
    }
    expect(createCursors(randomBytes(32)).open(cursor, binding)).toMatchObject({ ok: false })
  })
})
