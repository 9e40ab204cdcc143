import { createHash } from 'node:crypto'
import { type Application, type Event, newId, type PolicySetMember, type Session, type Zone } from '@caracal/core'
import { createAdminToken } from './admin-tokens.ts'
import { addApplicationKey } from './application-keys.ts'
import { addCredential } from './applications.ts'
import { type BudgetSlice, writeSlices } from './budget-slices.ts'
import { createBudget } from './budgets.ts'
import { writeBook } from './charges.ts'
import type { Queryable } from './database.ts'
import { insertDelegation } from './delegations.ts'
import { recordProduced } from './evidence-producers.ts'
import { claimReceipt } from './idempotency.ts'
import { draftBlocks } from './ledger-block.ts'
import { insertCheckpoint } from './ledger-checkpoints.ts'
import { extendLog, lockLogHead } from './ledger-log.ts'
import { enqueue } from './outbox.ts'
import { addPolicyVersion, createPolicy } from './policies.ts'
import { activatePolicySetVersion } from './policy-activation.ts'
import { recordReplicas } from './policy-replicas.ts'
import { addPolicySetVersion, createPolicySet } from './policy-sets.ts'
import { createProvider } from './providers.ts'
import { revoke } from './revocations.ts'
import { established, NOW, sampleApplication, sampleResource, sampleSession, sampleZone } from './sample-zone.ts'
import { insertSession } from './sessions-together.ts'
import { insertZoneKey, type ZoneKey } from './zone-keys.ts'

export const EMPTY_LOG = createHash('sha256').digest()
const HOUR = 3_600_000

export type SampleInstallation = Awaited<ReturnType<typeof sampleInstallation>>

export function sampleKey(zone: Zone, kind: ZoneKey['kind'], state: ZoneKey['state']): ZoneKey {
  const publicJwk = kind === 'pepper' ? null : ({ kty: 'OKP', crv: 'Ed25519', x: 'AA', kid: `${kind}-${state}`, alg: 'EdDSA' } as const)
  return { zone: zone.id, kind, kid: `${kind}-${state}`, state, publicJwk, sealed: 's', createdAt: NOW, activatesAt: NOW, retiresAt: null }
}

/** A zone with at least one row in every table of zones. */
export async function sampleInstallation(db: Queryable) {
  const zone = await sampleZone(db)
  const application = await sampleApplication(db, zone)
  const other = await sampleApplication(db, zone)
  const credential = newId('credential')
  const secret = { id: credential, zone: zone.id, application: application.id, kind: 'secret', digest: 'd' } as const
  await addCredential(db, { ...secret, createdAt: NOW, expiresAt: null })
  const key = newId('credential')
  const apiKey = { id: key, zone: zone.id, application: application.id, kind: 'api_key', name: 'key', digest: 'd' } as const
  established(await addApplicationKey(db, { ...apiKey, createdAt: NOW, expiresAt: null }))
  const provider = established(
    await createProvider(
      db,
      {
        id: newId('provider'),
        zone: zone.id,
        name: 'provider',
        hosts: ['a.example'],
        expiresAt: null,
        method: { kind: 'bearer' },
        secret: { sealed: 's', version: 1, digest: 'd' },
      },
      NOW,
    ),
  )
  const resource = await sampleResource(db, zone)
  const budget = await sampleBudget(db, zone, application)
  const policy = established(await createPolicy(db, { id: newId('policy'), zone: zone.id, name: 'policy' }, NOW))
  const text = { source: '{}', canonical: '{"name":"policy","rules":[]}', sha256: 'abc', createdBy: 'me' }
  const { version: policyVersion } = established(
    await addPolicyVersion(db, { id: newId('policyVersion'), zone: zone.id, policy: policy.id, ...text }, NOW),
  )
  const set = established(await createPolicySet(db, { id: newId('policySet'), zone: zone.id, name: 'default' }, NOW))
  const members: PolicySetMember[] = [{ policy: policy.id, version: policyVersion.id, sha256: 'abc' }]
  const { version: setVersion } = established(
    await addPolicySetVersion(
      db,
      { id: newId('policySetVersion'), zone: zone.id, policySet: set.id, members, sha256: 'def', createdBy: 'me' },
      NOW,
    ),
  )
  established(await activatePolicySetVersion(db, { zone: zone.id, setVersion: setVersion.id, expected: 0, by: 'me' }, NOW))
  await recordReplicas(db, [
    { zone: zone.id, replica: 'r', role: 'sts', setVersion: setVersion.id, configVersion: 1, error: null, seenAt: NOW },
  ])
  for (const [kind, state] of [
    ['signing', 'current'],
    ['signing', 'next'],
    ['log', 'current'],
  ] as const)
    await insertZoneKey(db, sampleKey(zone, kind, state))
  const root = await sampleSession(db, zone, application.id)
  const child = await sampleSession(db, zone, application.id, root)
  const leased = await leasedSession(db, zone, application)
  const offer = {
    zone: zone.id,
    from: root.id,
    fromApplication: application.id,
    fromLineage: root.lineage,
    toApplication: other.id,
    to: null,
    parent: null,
    grants: [{ resource: resource.id, scopes: ['read'] }],
    hops: 1,
    state: 'offered',
    expiresAt: NOW + HOUR,
  } as const
  const delegationId = newId('delegation')
  const delegation = await insertDelegation(db, { ...offer, id: delegationId, lineage: [delegationId] }, NOW)
  const why = { reason: 'sample', by: 'me' }
  await revoke(db, { id: newId('revocation'), zone: zone.id, kind: 'subject', target: 'sub_1', ...why }, NOW)
  const tokenId = newId('token')
  const digest = createHash('sha256').update(tokenId).digest('hex')
  const life = { expiresAt: NOW + HOUR, createdBy: 'me' }
  const token = established(
    await createAdminToken(db, { id: tokenId, name: tokenId, roles: ['admin'], zone: zone.id, digest, ...life }, NOW),
  )
  const event: Event = {
    v: 1,
    id: newId('event'),
    zone: zone.id,
    time: new Date(NOW).toISOString(),
    type: 'call.allowed',
    service: 'gateway',
    resource: 'https://a.example',
    request_id: newId('request'),
  }
  const logged = { event, text: JSON.stringify(event) }
  await lockLogHead(db, zone.id, EMPTY_LOG, NOW)
  await extendLog(
    db,
    0,
    {
      blocks: draftBlocks(zone.id, [logged]),
      tiles: [{ level: 0, index: 0, offset: 0, hashes: EMPTY_LOG }],
      head: { zone: zone.id, size: 1, root: EMPTY_LOG, frontier: EMPTY_LOG },
    },
    NOW,
  )
  await insertCheckpoint(db, { zone: zone.id, size: 1, root: EMPTY_LOG, note: 'n', at: NOW })
  await recordProduced(db, new Map([[`producer-${zone.name}`, [1]]]), NOW)
  await claimReceipt(db, { principal: zone.name, key: 'k' }, 'h', NOW)
  await enqueue(db, { stream: 'caracal.audit.events', aggregate: zone.id, payload: '{}' })
  return {
    zone,
    application,
    other,
    credential,
    key,
    provider,
    resource,
    ...budget,
    policy,
    policyVersion,
    set,
    setVersion,
    members,
    root,
    child,
    leased,
    delegation,
    offer,
    token,
    digest,
    event,
    logged,
  }
}

/** A budget that a call was charged to and settled, and one that is charged and expired. */
async function sampleBudget(db: Queryable, zone: Zone, { id: application }: Pick<Application, 'id'>) {
  const limit = { amount: '10', currency: 'EUR' }
  const fields = { name: 'budget', holder: application, limit, window: 'total', per: null } as const
  const budget = established(await createBudget(db, { ...fields, id: newId('budget'), zone: zone.id }, NOW))
  const what = { application, subject: null, session: null, resource: 'https://a.example', operation: 'GET /' }
  const charge = {
    zone: zone.id,
    request: newId('request'),
    what,
    held: [{ budget: budget.id, startsAt: 0, amount: 1n, money: true }],
    amount: 1n,
    currency: 'EUR',
    reservedAt: NOW - HOUR,
    expiresAt: NOW - 1,
  }
  const usage = {
    ...what,
    request: newId('request'),
    amount: 1n,
    currency: 'EUR',
    budgets: [budget.id],
    late: false,
    at: NOW,
    settledAt: NOW,
  }
  const begun = [{ budget: budget.id, startsAt: 0, spent: 1n, reserved: 1n }]
  await writeBook(db, zone.id, { changed: [], begun, charges: [charge], usage: [usage] })
  const slice: BudgetSlice = { budget: budget.id, point: 'point-1', amount: 1n, turn: 1, expiresAt: NOW, lostAt: NOW }
  await writeSlices(db, zone.id, [slice])
  return { budget, charge, usage, slice }
}

async function leasedSession(db: Queryable, zone: Zone, application: { readonly id: Session['application'] }): Promise<Session> {
  const id = newId('session')
  return await insertSession(
    db,
    {
      id,
      zone: zone.id,
      application: application.id,
      kind: 'service',
      parent: null,
      lineage: [id],
      labels: [],
      subject: null,
      expiresAt: NOW + HOUR,
      lease: { generation: 1, expiresAt: NOW + 60_000 },
    },
    NOW,
  )
}
