import type { RevocationKind, ZoneId } from '@caracal/core'
import { type Answer, answer } from '@caracal/service'
import type { Killed } from '../revocations/kill.ts'
import type { Change } from './commit-change.ts'

/** A deletion as a change: the row is archived and what lived on it is revoked (P-060). */
export function deletion(
  what: {
    readonly zone: ZoneId
    readonly kind: RevocationKind | 'policy' | 'budget'
    readonly id: string
    readonly name: string
    readonly dryRun: boolean
  },
  killed: Pick<Killed, 'revocations' | 'events'> & { readonly affects: Readonly<Record<string, number>> },
  more: Pick<Change, 'activated'> & { readonly events?: Change['events'] } = {},
): Change {
  const { zone, kind, id, name, dryRun } = what
  return {
    answer: deleteAnswer(dryRun, killed),
    events: [
      { zone, type: 'admin.changed', target: { kind, id, name }, details: { action: 'delete' } },
      ...killed.events,
      ...(more.events ?? []),
    ],
    config: [{ zone, entity: kind, id }],
    revocations: killed.revocations,
    ...(more.activated === undefined ? {} : { activated: more.activated }),
  }
}

function deleteAnswer(dryRun: boolean, { revocations, affects }: Pick<Killed, 'revocations' | 'affects'>): Answer {
  const revokes = revocations.map(({ kind, id }) => ({ kind, id }))
  return answer(200, { dryRun, deleted: !dryRun, revokes, affects })
}
