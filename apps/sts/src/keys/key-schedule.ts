import { CLOCK_SKEW, MAX_MANDATE_LIFE, type Seconds, type UnixMillis } from '@caracal/core'

/** Where a signing key stands in its life. */
export type KeyRow = {
  readonly kid: string
  readonly state: 'next' | 'current' | 'previous' | 'retired'
  readonly createdAt: UnixMillis
  /** When it signs, or began to. */
  readonly activatesAt: UnixMillis
  /** Until when it is published, once it no longer signs. */
  readonly retiresAt: UnixMillis | null
}

/** A change that is due. The order within one plan is the order in which they are made. */
export type KeyChange =
  | { readonly kind: 'retire'; readonly kid: string }
  /** The current key becomes previous, the next one current. */
  | { readonly kind: 'promote'; readonly kid: string; readonly replaces: string | undefined; readonly publishedUntil: UnixMillis }
  | { readonly kind: 'create'; readonly state: 'current' | 'next'; readonly activatesAt: UnixMillis }

/** A key is published at least this long before it signs, so that verifiers' caches (5 minutes) have it (P-011). */
export const PUBLISH_AHEAD: Seconds = 600

/** How long a replica may go on signing with the former key before it has heard of the promotion. */
const REPLICA_LAG: Seconds = 30

/** A key that no longer signs is published until the last mandate it signed has ended, with skew. */
export const PUBLISH_AFTER: Seconds = MAX_MANDATE_LIFE + CLOCK_SKEW + REPLICA_LAG

/** A key signs this long unless somebody rotates earlier. */
export const ROTATE_EVERY: Seconds = 30 * 24 * 3600

/**
 * What is due at `now`. A zone without keys gets one that signs at once, because nobody can have cached its key set yet, and the
 * next one. Pure: the same rows and time give the same plan, and a plan made twice changes nothing the second time.
 */
export function planKeys(rows: readonly KeyRow[], now: UnixMillis): readonly KeyChange[] {
  const changes: KeyChange[] = []
  for (const row of rows) {
    if (row.state === 'previous' && row.retiresAt !== null && row.retiresAt <= now) changes.push({ kind: 'retire', kid: row.kid })
  }
  const current = rows.find((row) => row.state === 'current')
  const next = rows.find((row) => row.state === 'next')
  if (current === undefined && next === undefined) {
    return [...changes, { kind: 'create', state: 'current', activatesAt: now }, nextKey(now)]
  }
  if (next === undefined) return [...changes, nextKey(now)]
  if (current !== undefined && next.activatesAt > now) return changes
  return [...changes, { kind: 'promote', kid: next.kid, replaces: current?.kid, publishedUntil: now + PUBLISH_AFTER * 1000 }, nextKey(now)]
}

/** When the next key may sign if somebody asks for a rotation now: at once, or when it has been published long enough. */
export function earliestRotation(next: Pick<KeyRow, 'createdAt' | 'activatesAt'>, now: UnixMillis): UnixMillis {
  return Math.min(next.activatesAt, Math.max(now, next.createdAt + PUBLISH_AHEAD * 1000))
}

/** Keys that stand in the key set, in the order next, current, previous. */
export function publishedKeys<K extends Pick<KeyRow, 'state' | 'createdAt'>>(rows: readonly K[]): readonly K[] {
  const order = { next: 0, current: 1, previous: 2, retired: 3 } as const
  return rows.filter((row) => row.state !== 'retired').sort((a, b) => order[a.state] - order[b.state] || b.createdAt - a.createdAt)
}

function nextKey(now: UnixMillis): KeyChange {
  return { kind: 'create', state: 'next', activatesAt: now + ROTATE_EVERY * 1000 }
}
