import type { Revocation, RevocationSnapshot, UnixMillis } from '@caracal/core'
import type { Streams } from '@caracal/streams'

/** Where a replica reads revocations from beside the broadcast: Postgres, or the STS over HTTP. */
export type RevocationSource = {
  /** Everything of the last `REVOCATION_RETENTION` seconds, and the place of the broadcast noted before it was read. */
  readonly snapshot: () => Promise<RevocationSnapshot>
  /** Everything revoked or lifted since then, and the source's own time when it was asked: the next poll starts from that. */
  readonly since: (at: UnixMillis) => Promise<{ readonly at: UnixMillis; readonly revocations: readonly Revocation[] }>
}

/** A snapshot that a subscription can be joined to without a gap: first the end of the broadcast is noted, then the store is read (P-057). */
export async function snapshotAtTip(streams: Streams, read: () => Promise<readonly Revocation[]>): Promise<RevocationSnapshot> {
  const position = await streams.tip('caracal.revocations')
  return { position, entries: await read() }
}
