import type { Clock, ReplicaSnapshot, SyncAnswer, SyncRequest, ZoneId } from '@caracal/core'
import type { RevocationSource } from '@caracal/enforcement'
import { type Database, type ReplicaState, recordReplicas } from '@caracal/postgres'
import type { Logger } from '@caracal/service'
import type { Zones } from '../zones/zones.ts'

/** What enforcement points that hold no database credential learn here. */
export type ReplicaDesk = {
  snapshot(zones: readonly ZoneId[] | undefined): Promise<ReplicaSnapshot>
  /** Also notes what the replica serves, for the activation status (P-023). */
  sync(request: SyncRequest): Promise<SyncAnswer>
}

/** What a replica says is written when it changed, and this often when it did not. */
const NOTE_EVERY_MS = 30_000

/** Replicas remembered at most; one that is forgotten is only written once more. */
const MOST_REPLICAS = 10_000

export function replicaDesk(options: {
  readonly zones: Zones
  readonly revocations: RevocationSource
  readonly database: Database
  readonly clock: Clock
  readonly logger: Logger
}): ReplicaDesk {
  const { zones, revocations, database, clock, logger } = options
  const noted = new Map<string, { readonly text: string; readonly at: number }>()

  async function note(request: SyncRequest): Promise<void> {
    // A poll for revocations alone says nothing about what is loaded.
    if (Object.keys(request.loaded).length === 0) return
    const text = JSON.stringify([request.role, request.loaded])
    const before = noted.get(request.replica)
    const now = clock()
    if (before?.text === text && now - before.at < NOTE_EVERY_MS) return
    const rows = Object.entries(request.loaded).map(
      ([zone, { version, policy, error }]): ReplicaState => ({
        zone: zone as ZoneId,
        replica: request.replica,
        role: request.role,
        setVersion: policy,
        configVersion: version,
        error: error ?? null,
        seenAt: now,
      }),
    )
    try {
      await recordReplicas(database.query, rows)
      noted.delete(request.replica)
      noted.set(request.replica, { text, at: now })
      if (noted.size > MOST_REPLICAS) {
        const oldest = noted.keys().next()
        if (!oldest.done) noted.delete(oldest.value)
      }
    } catch (error) {
      // What is current can be told all the same.
      logger.warn({ err: error, replica: request.replica }, 'what a replica serves could not be noted')
    }
  }

  return {
    async snapshot(wanted) {
      // A zone that a replica asks for by name is one that it heard has changed: this replica may be a moment behind.
      if (wanted !== undefined) await zones.check().catch(() => false)
      const named = wanted === undefined ? undefined : new Set(wanted)
      const revoked = await revocations.snapshot()
      return {
        v: 1,
        at: clock(),
        zones: zones.all().flatMap(({ snapshot }) => (named === undefined || named.has(snapshot.id) ? [snapshot] : [])),
        revocations: revoked,
      }
    },
    async sync(request) {
      if (request.proof === true) await zones.check()
      const at = clock()
      await note(request)
      const since = request.revocationsSince
      return {
        v: 1,
        at,
        zones: Object.fromEntries(
          zones.all().map(({ snapshot }) => [snapshot.id, { version: snapshot.version, policy: snapshot.policy?.setVersion ?? null }]),
        ),
        ...(since === undefined ? {} : { revocations: (await revocations.since(since)).revocations }),
      }
    },
  }
}
