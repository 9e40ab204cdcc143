import type { ReplicaSnapshot, Result, Revocation, SyncAnswer, SyncRequest, ZoneId } from '@caracal/core'
import type { ConfigurationSource, RevocationSource } from '@caracal/enforcement'
import type { InternalClient } from '@caracal/service'
import Type from 'typebox'

/** The answers are proven by their signature; their members are those of `@caracal/core`'s wire types. */
const SnapshotReply = Type.Object({ v: Type.Literal(1), zones: Type.Array(Type.Unknown()), revocations: Type.Unknown() })
const SyncReply = Type.Object({ v: Type.Literal(1), at: Type.Number(), zones: Type.Unknown() })

/**
 * Where a replica without a database reads what it must know: the STS, over signed internal calls. Every function rejects when
 * the STS does not answer; the followers try again.
 */
export function stsSource(
  client: InternalClient,
  identity: { readonly replica: string; readonly role: string },
): { configuration: ConfigurationSource; revocations: RevocationSource } {
  const snapshot = async (zones?: readonly ZoneId[]): Promise<ReplicaSnapshot> =>
    established(
      await client.call('/internal/snapshot', zones === undefined ? {} : { zones }, { reply: SnapshotReply }),
    ) as unknown as ReplicaSnapshot
  const sync = async (request: SyncRequest): Promise<SyncAnswer> =>
    established(await client.call('/internal/sync', request, { reply: SyncReply })) as unknown as SyncAnswer
  return {
    configuration: { snapshot: async (zones) => (await snapshot(zones)).zones, sync },
    revocations: {
      // No zone is asked for: only what is revoked.
      snapshot: async () => (await snapshot([])).revocations,
      since: async (at) => {
        const answer = await sync({ v: 1, ...identity, loaded: {}, revocationsSince: at })
        const revocations: readonly Revocation[] | undefined = answer.revocations
        if (revocations === undefined) throw new Error('the STS did not answer with revocations')
        return { at: answer.at, revocations }
      },
    },
  }
}

function established<T>(result: Result<T>): T {
  if (result.ok) return result.value
  throw new Error(`the STS refused: ${result.reason}${result.detail === undefined ? '' : ` (${result.detail})`}`)
}
