import type { ChargeDesk } from '@caracal/budgets'
import { ChargesReply, isId, ok, type ReplicaSnapshot, refuse, type SyncRequest, type ZoneId } from '@caracal/core'
import { answer, internal, Problem, type RouteRow, route } from '@caracal/service'
import Type from 'typebox'
import { ChargesBody, workOrders } from '../charges/charge-orders.ts'
import type { ProviderCredentials } from '../credentials/provider-credentials.ts'
import type { SealingDesk } from '../credentials/seal-for-others.ts'
import { digestSecret, SealRequest, sealSecret } from '../credentials/seal-for-others.ts'
import type { ReplicaDesk } from '../replicas/replica-desk.ts'

const Zone = Type.String({ pattern: '^zon_[0-9a-z]{26}$' })

/** Roles that decide and inject at the edge. */
const ENFORCEMENT = ['gateway', 'mcp-adapter'] as const

/** The longest list of zones one call names. */
const MOST_ZONES = 10_000

/**
 * Signed calls of other roles (3-wire). A row names who may call it; bodies that carry a secret are encrypted both ways.
 */
export function internalRoutes(desk: {
  readonly replicas: ReplicaDesk
  readonly credentials: ProviderCredentials
  readonly sealing: SealingDesk
  readonly charges: ChargeDesk
}): RouteRow[] {
  return [
    route({
      method: 'POST',
      path: '/internal/snapshot',
      who: internal(...ENFORCEMENT),
      summary: 'What a deciding replica must know of some or all zones, and what is revoked',
      exposure: 'cluster',
      body: Type.Object({ zones: Type.Optional(Type.Array(Zone, { maxItems: MOST_ZONES })) }),
      reply: { 200: Type.Object({}, { additionalProperties: true }), 503: Problem('store_unavailable') },
      handle: async ({ body }) => {
        const snapshot: ReplicaSnapshot = await desk.replicas.snapshot(body.zones?.filter((zone): zone is ZoneId => isId('zone', zone)))
        return answer(200, snapshot)
      },
    }),
    route({
      method: 'POST',
      path: '/internal/sync',
      who: internal(...ENFORCEMENT),
      summary: 'A replica says what it serves and learns what is current',
      exposure: 'cluster',
      body: Type.Object({
        v: Type.Literal(1),
        replica: Type.String({ minLength: 1, maxLength: 253 }),
        role: Type.String({ minLength: 1, maxLength: 32 }),
        loaded: Type.Record(
          Type.String(),
          Type.Object({
            version: Type.Integer(),
            policy: Type.Union([Type.String(), Type.Null()]),
            error: Type.Optional(Type.String({ maxLength: 2000 })),
          }),
        ),
        revocationsSince: Type.Optional(Type.Number({ minimum: 0 })),
        proof: Type.Optional(Type.Literal(true)),
      }),
      reply: { 200: Type.Object({}, { additionalProperties: true }), 503: Problem('store_unavailable') },
      handle: async ({ body }) => answer(200, await desk.replicas.sync(body as SyncRequest)),
    }),
    route({
      method: 'POST',
      path: '/internal/credentials',
      who: internal(...ENFORCEMENT),
      summary: 'The upstream credential for a resource',
      exposure: 'cluster',
      sealed: true,
      body: Type.Object({
        zone: Zone,
        provider: Type.String(),
        resource: Type.String(),
        host: Type.String({ minLength: 1, maxLength: 300 }),
      }),
      reply: {
        200: Type.Object({
          kind: Type.String(),
          secret: Type.Union([Type.String(), Type.Null()]),
          expiresAt: Type.Union([Type.Number(), Type.Null()]),
        }),
        502: Problem('credential_unavailable'),
      },
      handle: async ({ body, principal, id }) => {
        const { zone, provider, resource } = body
        if (!isId('zone', zone) || !isId('provider', provider) || !isId('resource', resource)) return refuse('credential_unavailable')
        const caller = principal.kind === 'internal' ? principal.caller : 'unknown'
        return desk.credentials.release({ zone, provider, resource, host: body.host, caller, requestId: id })
      },
    }),
    route({
      method: 'POST',
      path: '/internal/charges',
      who: internal(...ENFORCEMENT),
      summary: 'Reserves, settles and releases what calls cost, and what a point may spend while the store is away; many at once',
      exposure: 'cluster',
      body: ChargesBody,
      reply: {
        200: ChargesReply,
        503: Problem('store_unavailable'),
      },
      handle: async ({ body }) => answer(200, { answers: await workOrders(desk.charges, body.orders) }),
    }),
    route({
      method: 'POST',
      path: '/internal/seal',
      who: internal('api'),
      summary: 'Seals a secret for the row it will stand in',
      exposure: 'cluster',
      sealed: true,
      body: SealRequest,
      reply: { 200: Type.Object({ sealed: Type.String() }) },
      handle: ({ body }) => ok({ sealed: sealSecret(desk.sealing, body) }),
    }),
    route({
      method: 'POST',
      path: '/internal/digest-secret',
      who: internal('api'),
      summary: "Digest of a client secret under its zone's pepper",
      exposure: 'cluster',
      sealed: true,
      body: Type.Object({ zone: Zone, secret: Type.String({ minLength: 20, maxLength: 512 }) }),
      reply: { 200: Type.Object({ digest: Type.String() }), 404: Problem('not_found'), 503: Problem('keys_unavailable') },
      handle: async ({ body }) => digestSecret(desk.sealing, body.zone as ZoneId, body.secret),
    }),
  ]
}
