import type { Delegation } from '@caracal/core'
import Type, { type Static } from 'typebox'
import { IdOf } from '../routes/parameters.ts'

const Time = Type.Number({ description: 'Unix time in milliseconds' })

export const GrantBody = Type.Object({ resource: IdOf('resource'), scopes: Type.Array(Type.String()) })

/** A delegation as answers show it. */
export const DelegationBody = Type.Object({
  id: IdOf('delegation'),
  zone: IdOf('zone'),
  from: IdOf('session'),
  fromApplication: IdOf('application'),
  toApplication: IdOf('application'),
  to: Type.Union([IdOf('session'), Type.Null()]),
  parent: Type.Union([IdOf('delegation'), Type.Null()]),
  lineage: Type.Array(IdOf('delegation'), { description: 'Root → this delegation' }),
  grants: Type.Array(GrantBody),
  hops: Type.Integer({ description: 'How many further delegations may hang below this one' }),
  state: Type.Union([Type.Literal('offered'), Type.Literal('active'), Type.Literal('revoked')]),
  expiresAt: Time,
  version: Type.Integer(),
  createdAt: Time,
  updatedAt: Time,
})

/** What both parties may know. The sessions above the delegator are the delegator's own. */
export function showDelegation(delegation: Delegation): Static<typeof DelegationBody> {
  const { id, zone, from, fromApplication, toApplication, to, parent, hops, state, expiresAt, ...stored } = delegation
  const { version, createdAt, updatedAt } = stored
  return {
    id,
    zone,
    from,
    fromApplication,
    toApplication,
    to,
    parent,
    lineage: [...delegation.lineage],
    grants: delegation.grants.map(({ resource, scopes }) => ({ resource, scopes: [...scopes] })),
    hops,
    state,
    expiresAt,
    version,
    createdAt,
    updatedAt,
  }
}
