import type { PolicyActivation, UnixMillis, ZoneId } from '@caracal/core'
import { activePolicy, listReplicas, type Queryable } from '@caracal/postgres'

/** A replica that said nothing for this long is gone. Milliseconds. */
const SILENT_AFTER = 30_000

export type Convergence = {
  readonly active: Omit<PolicyActivation, 'zone'> | null
  readonly replicas: readonly {
    readonly replica: string
    readonly role: string
    readonly setVersion: string | null
    readonly error: string | null
    readonly seenAt: UnixMillis
  }[]
  /** Every replica that is there serves what is active, and there is one. */
  readonly loaded: boolean
}

/** What is active in a zone, and what each replica says it serves. */
export async function convergenceOf(db: Queryable, zone: ZoneId, now: UnixMillis): Promise<Convergence> {
  const head = await activePolicy(db, zone)
  const replicas = (await listReplicas(db, zone, now - SILENT_AFTER)).map(({ replica, role, setVersion, error, seenAt }) => ({
    replica,
    role,
    setVersion,
    error,
    seenAt,
  }))
  if (head === undefined) return { active: null, replicas, loaded: false }
  const { zone: _zone, ...active } = head
  const loaded = replicas.length > 0 && replicas.every((one) => one.setVersion === head.setVersion && one.error === null)
  return { active, replicas, loaded }
}
