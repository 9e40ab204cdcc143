import type { Delegation, DelegationId, Session, SessionId, ZoneId } from '@caracal/core'

/** Where sessions and delegations are stored. Ids of another zone are not found. */
export type LineageStore = {
  sessions(zone: ZoneId, ids: readonly SessionId[]): Promise<readonly Session[]>
  delegations(zone: ZoneId, ids: readonly DelegationId[]): Promise<readonly Delegation[]>
}

/** Everything that a mint with this session and delegation stands on, as far as it exists. */
export type LineageRows = {
  readonly session: Session | undefined
  readonly delegation: Delegation | undefined
  /** The session's lineage and every delegator's. */
  readonly sessions: ReadonlyMap<SessionId, Session>
  /** The delegation's lineage. */
  readonly delegations: ReadonlyMap<DelegationId, Delegation>
  /** Whether something of it was remembered rather than read just now. */
  readonly cached: boolean
}

/** Reads lineages through memory; what changed is forgotten when the Coordinator says so. */
export type LineageReader = {
  /** `anew` asks the store for everything. Throws when the store is away and something is not in memory. */
  read(zone: ZoneId, session: SessionId, delegation: DelegationId | undefined, how: 'cached' | 'anew'): Promise<LineageRows>
  forget(id: string): void
  forgetAll(): void
  size(): number
}

/** Rows remembered of each kind; the least recently read go first. About 1 KiB each. */
const CAPACITY = 50_000

export function lineageReader(store: LineageStore): LineageReader {
  const sessions = new Map<SessionId, Session>()
  const delegations = new Map<DelegationId, Delegation>()
  /** Counts what was forgotten: a read that was under way meanwhile may be of before, and is not remembered. */
  let forgotten = 0

  /** Rows from memory and, for those that are not there, one statement. */
  async function fetch<I extends string, R extends { readonly id: I; readonly zone: ZoneId }>(
    memory: Map<I, R>,
    load: (zone: ZoneId, ids: readonly I[]) => Promise<readonly R[]>,
    zone: ZoneId,
    ids: readonly I[],
    how: 'cached' | 'anew',
  ): Promise<{ rows: Map<I, R>; cached: boolean }> {
    const rows = new Map<I, R>()
    const missing: I[] = []
    for (const id of new Set(ids)) {
      const known = how === 'cached' ? memory.get(id) : undefined
      if (known === undefined) missing.push(id)
      else if (known.zone === zone) {
        rows.set(id, known)
        memory.delete(id)
        memory.set(id, known)
      }
    }
    const cached = rows.size > 0
    if (missing.length === 0) return { rows, cached }
    const before = forgotten
    for (const row of await load(zone, missing)) {
      rows.set(row.id, row)
      if (forgotten !== before) continue
      memory.delete(row.id)
      memory.set(row.id, row)
      if (memory.size > CAPACITY) {
        const oldest = memory.keys().next()
        if (!oldest.done) memory.delete(oldest.value)
      }
    }
    return { rows, cached }
  }

  return {
    async read(zone, sessionId, delegationId, how) {
      const own = await fetch(sessions, store.sessions, zone, [sessionId], how)
      const session = own.rows.get(sessionId)
      const wanted = new Set<SessionId>(session?.lineage ?? [])
      let chain: { rows: Map<DelegationId, Delegation>; cached: boolean } = { rows: new Map(), cached: false }
      let delegation: Delegation | undefined
      if (delegationId !== undefined) {
        const held = await fetch(delegations, store.delegations, zone, [delegationId], how)
        delegation = held.rows.get(delegationId)
        chain = await fetch(delegations, store.delegations, zone, delegation?.lineage ?? [], how)
        chain.cached ||= held.cached
        for (const link of chain.rows.values()) for (const id of [...link.fromLineage, link.from]) wanted.add(id)
      }
      const above = await fetch(sessions, store.sessions, zone, [...wanted], how)
      return { session, delegation, sessions: above.rows, delegations: chain.rows, cached: own.cached || above.cached || chain.cached }
    },
    forget(id) {
      forgotten += 1
      sessions.delete(id as SessionId)
      delegations.delete(id as DelegationId)
    },
    forgetAll() {
      forgotten += 1
      sessions.clear()
      delegations.clear()
    },
    size: () => sessions.size + delegations.size,
  }
}
