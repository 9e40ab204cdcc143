import { ID_PREFIXES, type Id, type IdKind, NAME, type ZoneId } from '@caracal/core'
import { role } from '@caracal/service'
import Type from 'typebox'

/** An id of one kind in its one spelling. Anything else in a path is not found (P-131). */
export function IdOf<const K extends IdKind>(kind: K) {
  return Type.Unsafe<Id<K>>(Type.String({ pattern: `^${ID_PREFIXES[kind]}_[0-7][0-9a-hjkmnp-tv-z]{25}$` }))
}

/** The path of a row within a zone. */
export function InZone<const K extends IdKind>(kind: K) {
  return Type.Object({ zone: Type.String(), id: IdOf(kind) })
}

export const OfZone = Type.Object({ zone: Type.String() })

export const NameText = Type.String({ pattern: NAME.source })
export const LabelTexts = Type.Array(Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$' }), { maxItems: 64, uniqueItems: true })

/** Unix time in milliseconds. */
export const Moment = Type.Integer({ minimum: 0, maximum: 8_640_000_000_000_000 })

/** Whoever may look: every role but none in particular. */
export const readers = role('viewer', 'operator', 'policy_author', 'approver', 'auditor')

/** `?dryRun=true`: what would happen, and nothing else. */
export const DryRunQuery = Type.Object({ dryRun: Type.Optional(Type.Boolean({ default: false })) })

/** The zone of a row whose path names one. */
export function zoneOf(request: { readonly zone: ZoneId | null }): ZoneId {
  if (request.zone === null) throw new Error('a route within a zone has a zone')
  return request.zone
}
