import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { newId } from '@caracal/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { managedDatabaseUrl } from './both-databases.ts'
import type { Database, Queryable } from './database.ts'
import * as repositories from './index.ts'
import { EMPTY_LOG, type SampleInstallation, sampleInstallation, sampleKey } from './sample-installation.ts'
import { NOW, sampleResourceFields } from './sample-zone.ts'
import type { ServiceRole } from './service-role.ts'
import { inZone } from './zone-scope.ts'

type Call = (db: Queryable, on: SampleInstallation) => unknown

const FIRST = { limit: 10 }
const LATER = NOW + 1
const why = { reason: 'test', by: 'me' }
const ids = {
  zone: newId('zone'),
  application: newId('application'),
  credential: newId('credential'),
  budget: newId('budget'),
  request: newId('request'),
  provider: newId('provider'),
  resource: newId('resource'),
  policy: newId('policy'),
  policyVersion: newId('policyVersion'),
  policySet: newId('policySet'),
  policySetVersion: newId('policySetVersion'),
  session: newId('session'),
  delegation: newId('delegation'),
  revocation: newId('revocation'),
  token: newId('token'),
}
const text = { source: '{"a":1}', canonical: '{"a":1}', sha256: 'other', createdBy: 'me' }
const receipt = (on: SampleInstallation) => ({ principal: on.zone.name, key: 'k' })
const given = { status: 200, headers: {}, body: '{}' }
const method = { kind: 'bearer' } as const
const newSession = (on: SampleInstallation) => ({
  id: ids.session,
  zone: on.zone.id,
  application: on.application.id,
  kind: 'task' as const,
  parent: on.root.id,
  lineage: [on.root.id, ids.session],
  labels: [],
  subject: null,
  expiresAt: LATER,
  lease: null,
})

/** Every repository method that a service calls, with arguments that do what it is for. */
const CALLS: Readonly<Record<string, Call>> = {
  abandonReceipt: (db, on) => repositories.abandonReceipt(db, receipt(on)),
  acceptDelegation: (db, on) => repositories.acceptDelegation(db, { zone: on.zone.id, id: on.delegation.id, to: on.child.id }, NOW),
  activatePolicySetVersion: (db, on) =>
    repositories.activatePolicySetVersion(db, { zone: on.zone.id, setVersion: on.setVersion.id, expected: 1, by: 'me' }, NOW),
  activePolicy: (db, on) => repositories.activePolicy(db, on.zone.id),
  addApplicationKey: (db, on) =>
    repositories.addApplicationKey(db, {
      id: ids.credential,
      zone: on.zone.id,
      application: on.other.id,
      kind: 'api_key',
      name: 'new',
      digest: 'e',
      createdAt: NOW,
      expiresAt: null,
    }),
  addCredential: (db, on) =>
    repositories.addCredential(db, {
      id: ids.credential,
      zone: on.zone.id,
      application: on.other.id,
      kind: 'secret',
      digest: 'e',
      createdAt: NOW,
      expiresAt: null,
    }),
  addPolicySetVersion: (db, on) => {
    const version = { id: ids.policySetVersion, zone: on.zone.id, policySet: on.set.id, members: [], sha256: 'x', createdBy: 'me' }
    return repositories.addPolicySetVersion(db, version, NOW)
  },
  addPolicyVersion: (db, on) =>
    repositories.addPolicyVersion(db, { id: ids.policyVersion, zone: on.zone.id, policy: on.policy.id, ...text }, NOW),
  answerReceipt: (db, on) => repositories.answerReceipt(db, receipt(on), given, NOW),
  answerReceipts: (db, on) => repositories.answerReceipts(db, [{ key: receipt(on), answer: given }], NOW),
  archiveApplication: (db, on) => repositories.archiveApplication(db, on.application, NOW),
  archivePolicy: (db, on) => repositories.archivePolicy(db, on.policy, NOW),
  archiveProvider: (db, on) => repositories.archiveProvider(db, on.provider, NOW),
  archiveResource: (db, on) => repositories.archiveResource(db, on.resource, NOW),
  archiveZone: (db, on) => repositories.archiveZone(db, on.zone, NOW),
  bumpConfigVersion: (db, on) => repositories.bumpConfigVersion(db, on.zone.id),
  claimReceipt: (db, on) => repositories.claimReceipt(db, { principal: on.zone.name, key: 'new' }, 'h', NOW),
  confirmMessages: (db) => repositories.confirmMessages(db, ['{}']),
  countLiveByApplication: (db, on) => repositories.countLiveByApplication(db, on.zone.id, NOW),
  countLiveChildren: (db, on) => repositories.countLiveChildren(db, on.zone.id, [on.root.id], NOW),
  countZone: (db, on) => repositories.countZone(db, on.zone.id, NOW),
  createAdminToken: (db, on) => {
    const token = { id: ids.token, name: 'new', roles: ['admin'] as const, zone: on.zone.id, digest: 'new' }
    return repositories.createAdminToken(db, { ...token, expiresAt: LATER, createdBy: 'me' }, NOW)
  },
  createApplication: (db, on) =>
    repositories.createApplication(db, { id: ids.application, zone: on.zone.id, name: 'new', labels: [] }, NOW),
  createPolicy: (db, on) => repositories.createPolicy(db, { id: ids.policy, zone: on.zone.id, name: 'new' }, NOW),
  createPolicySet: (db, on) => repositories.createPolicySet(db, { id: ids.policySet, zone: on.zone.id, name: 'new' }, NOW),
  createProvider: (db, on) => {
    const provider = { id: ids.provider, zone: on.zone.id, name: 'new', hosts: ['b.example'], expiresAt: null, method, secret: null }
    return repositories.createProvider(db, provider, NOW)
  },
  createResource: (db, on) => {
    const fields = sampleResourceFields({ name: 'new', identifier: 'https://new.example' })
    return repositories.createResource(db, { ...fields, id: ids.resource, zone: on.zone.id }, NOW)
  },
  createZone: (db) => inZone(ids.zone, () => repositories.createZone(db, { id: ids.zone, name: 'new', labels: [] }, NOW)),
  dueSessions: (db) => repositories.dueSessions(db, NOW + 90_000, 10),
  endSessionsOfApplication: (db, on) => repositories.endSessionsOfApplication(db, on.zone.id, on.application.id, NOW),
  endSessionsWhere: (db, on) => repositories.endSessionsWhere(db, on.zone.id, { application: on.application.id }, NOW),
  endSubtree: (db, on) => repositories.endSubtree(db, on.zone.id, on.root.id, NOW),
  endSubtrees: (db, on) => repositories.endSubtrees(db, on.zone.id, [on.root.id], NOW),
  enqueue: (db, on) => repositories.enqueue(db, { stream: 'caracal.config', aggregate: on.zone.id, payload: '{}' }),
  extendLog: (db, on) => {
    const event = { ...on.event, id: newId('event') }
    const tiles = [{ level: 0, index: 0, offset: 1, hashes: EMPTY_LOG }]
    const head = { zone: on.zone.id, size: 2, root: EMPTY_LOG, frontier: EMPTY_LOG }
    const blocks = repositories.draftBlocks(on.zone.id, [{ event, text: JSON.stringify(event) }])
    return repositories.extendLog(db, 1, { blocks, tiles, head }, NOW)
  },
  findAdminToken: (db, on) => repositories.findAdminToken(db, on.token.id),
  findApplication: (db, on) => repositories.findApplication(db, on.zone.id, on.application.id),
  findApplicationKey: (db, on) => repositories.findApplicationKey(db, on.zone.id, on.key),
  findApplicationByName: (db, on) => repositories.findApplicationByName(db, on.zone.id, on.application.name),
  findCheckpoint: (db, on) => repositories.findCheckpoint(db, on.zone.id, 1),
  findDelegation: (db, on) => repositories.findDelegation(db, on.zone.id, on.delegation.id),
  findDelegations: (db, on) => repositories.findDelegations(db, on.zone.id, [on.delegation.id]),
  findEntry: (db, on) => repositories.findEntry(db, on.zone.id, on.event.id),
  findLogHead: (db, on) => repositories.findLogHead(db, on.zone.id),
  findPolicy: (db, on) => repositories.findPolicy(db, on.zone.id, on.policy.id),
  findPolicyByName: (db, on) => repositories.findPolicyByName(db, on.zone.id, on.policy.name),
  findPolicySet: (db, on) => repositories.findPolicySet(db, on.zone.id, on.set.id),
  findPolicySetByName: (db, on) => repositories.findPolicySetByName(db, on.zone.id, on.set.name),
  findPolicySetVersion: (db, on) => repositories.findPolicySetVersion(db, on.zone.id, on.setVersion.id),
  findPolicyVersion: (db, on) => repositories.findPolicyVersion(db, on.zone.id, on.policyVersion.id),
  findPolicyVersions: (db, on) => repositories.findPolicyVersions(db, on.zone.id, [on.policyVersion.id]),
  findProvider: (db, on) => repositories.findProvider(db, on.zone.id, on.provider.id),
  findProviderByName: (db, on) => repositories.findProviderByName(db, on.zone.id, on.provider.name),
  findResource: (db, on) => repositories.findResource(db, on.zone.id, on.resource.id),
  findResourceByName: (db, on) => repositories.findResourceByName(db, on.zone.id, on.resource.name),
  findSession: (db, on) => repositories.findSession(db, on.zone.id, on.child.id),
  findSessions: (db, on) => repositories.findSessions(db, on.zone.id, [on.child.id]),
  findUsableAdminToken: (db, on) => repositories.findUsableAdminToken(db, on.digest, NOW),
  findZone: (db, on) => repositories.findZone(db, on.zone.id),
  findZoneByName: (db, on) => repositories.findZoneByName(db, on.zone.name),
  insertCheckpoint: (db, on) => repositories.insertCheckpoint(db, { zone: on.zone.id, size: 2, root: EMPTY_LOG, note: 'n', at: NOW }),
  insertDelegation: (db, on) => repositories.insertDelegation(db, { ...on.offer, id: ids.delegation, lineage: [ids.delegation] }, NOW),
  insertSession: (db, on) => repositories.insertSession(db, newSession(on), NOW),
  insertSessions: (db, on) => repositories.insertSessions(db, [newSession(on)], NOW),
  insertZoneKey: (db, on) => repositories.insertZoneKey(db, sampleKey(on.zone, 'pepper', 'current')),
  isReadOnly: (db) => repositories.isReadOnly(db),
  keepUnconfirmed: (db) => repositories.keepUnconfirmed(db, [1]),
  latestCheckpoint: (db, on) => repositories.latestCheckpoint(db, on.zone.id),
  lift: (db, on) => repositories.lift(db, { zone: on.zone.id, kind: 'subject', target: 'sub_1', by: 'me' }, NOW),
  listActivations: (db, on) => repositories.listActivations(db, on.zone.id, FIRST),
  listAdminTokens: (db, on) => repositories.listAdminTokens(db, FIRST, on.zone.id),
  listApplicationKeys: (db, on) => repositories.listApplicationKeys(db, on.zone.id, on.application.id),
  listApplications: (db, on) => repositories.listApplications(db, on.zone.id, FIRST),
  listCredentials: (db, on) => repositories.listCredentials(db, on.zone.id, on.application.id),
  listDelegations: (db, on) => repositories.listDelegations(db, on.zone.id, { under: on.delegation.id }, FIRST),
  listLogHeads: (db) => repositories.listLogHeads(db),
  listPolicies: (db, on) => repositories.listPolicies(db, on.zone.id, FIRST),
  listPolicyHashes: (db, on) => repositories.listPolicyHashes(db, on.zone.id),
  listPolicySetVersions: (db, on) => repositories.listPolicySetVersions(db, on.zone.id, on.set.id, FIRST),
  listPolicySets: (db, on) => repositories.listPolicySets(db, on.zone.id, FIRST),
  listPolicyVersions: (db, on) => repositories.listPolicyVersions(db, on.zone.id, on.policy.id, FIRST),
  listProducers: (db) => repositories.listProducers(db),
  listProviderSecrets: (db, on) => repositories.listProviderSecrets(db, on.zone.id),
  listProviders: (db, on) => repositories.listProviders(db, on.zone.id, FIRST),
  listReplicas: (db, on) => repositories.listReplicas(db, on.zone.id, 0),
  listResources: (db, on) => repositories.listResources(db, on.zone.id, FIRST),
  listRevocations: (db, on) => repositories.listRevocations(db, on.zone.id, FIRST),
  listSessions: (db, on) => repositories.listSessions(db, on.zone.id, { under: on.root.id }, FIRST),
  listZoneKeys: (db, on) => repositories.listZoneKeys(db, on.zone.id),
  listZones: (db) => repositories.listZones(db, FIRST),
  loadZoneConfiguration: (db, on) => repositories.loadZoneConfiguration(db, on.zone.id),
  lockAuthority: (db) => repositories.lockAuthority(db),
  lockDelegations: (db, on) => repositories.lockDelegations(db, on.zone.id, [on.delegation.id]),
  lockInZone: (db, on) => repositories.lockInZone(db, on.zone.id, 'test'),
  lockLineage: (db, on) => repositories.lockLineage(db, on.zone.id, on.child.id),
  lockLineagesWithoutWaiting: (db, on) => repositories.lockLineagesWithoutWaiting(db, on.zone.id, [on.child.id]),
  lockLogFor: (db, on) => repositories.lockLogFor(db, on.zone.id, [on.event.id], EMPTY_LOG, NOW),
  lockLogHead: (db, on) => repositories.lockLogHead(db, on.zone.id, EMPTY_LOG, NOW),
  lockSessionsWithoutWaiting: (db, on) => repositories.lockSessionsWithoutWaiting(db, on.zone.id, [on.child.id]),
  lockZoneKeys: (db, on) => repositories.lockZoneKeys(db, on.zone.id, 'signing'),
  misfiledBlocks: (db, on) => repositories.misfiledBlocks(db, on.zone.id, 0, 10),
  noteSecretDigest: (db, on) => repositories.noteSecretDigest(db, on.zone.id, on.provider.id, 1, 'z'),
  oldestUnconfirmed: async (db) => (await repositories.oldestUnconfirmed(db, 'caracal.audit.events')) >= 0,
  pinSetting: (db) => repositories.pinSetting(db, 'issuer', 'https://a.example', NOW),
  promoteNextKey: (db, on) => repositories.promoteNextKey(db, on.zone.id, 'signing', LATER),
  purgeReceipts: (db) => repositories.purgeReceipts(db, NOW + 100 * 86_400_000),
  readEntries: (db, on) => repositories.readEntries(db, on.zone.id, 0, 10),
  readLogFor: (db, on) => repositories.readLogFor(db, on.zone.id, [on.event.id]),
  readTile: (db, on) => repositories.readTile(db, on.zone.id, 0, 0),
  recordProduced: (db) => repositories.recordProduced(db, new Map([['p', [1, 2]]]), NOW),
  recordReplicas: (db, on) => {
    const told = { role: 'sts', setVersion: null, configVersion: 2, error: null, seenAt: NOW }
    return repositories.recordReplicas(db, [
      { ...told, zone: on.zone.id, replica: 'r' },
      { ...told, zone: on.zone.id, replica: 'new' },
    ])
  },
  removeCredential: (db, on) => repositories.removeCredential(db, on.zone.id, on.application.id, on.credential),
  renewLease: (db, on) => repositories.renewLease(db, { zone: on.zone.id, session: on.leased.id, generation: 1, expiresAt: LATER }, NOW),
  resumeSubtree: async (db, on) => [
    await repositories.suspendSubtree(db, on.zone.id, on.root.id, NOW),
    await repositories.resumeSubtree(db, on.zone.id, on.root.id, NOW),
  ],
  retireKeys: async (db, on) => [
    await repositories.promoteNextKey(db, on.zone.id, 'signing', NOW),
    await repositories.retireKeys(db, on.zone.id, 'signing', LATER),
  ],
  revocationsSince: (db, on) => repositories.revocationsSince(db, NOW, on.zone.id),
  revoke: (db, on) => repositories.revoke(db, { id: ids.revocation, zone: on.zone.id, kind: 'session', target: on.root.id, ...why }, NOW),
  revokeAdminToken: (db, on) => repositories.revokeAdminToken(db, on.token.id, NOW),
  revokeAll: (db, on) => repositories.revokeAll(db, { zone: on.zone.id, kind: 'session', ...why }, [on.root.id], NOW),
  revokeApplicationKeys: (db, on) => repositories.revokeApplicationKeys(db, { zone: on.zone.id, id: on.key }, NOW),
  revokeDelegationSubtree: (db, on) => repositories.revokeDelegationSubtree(db, on.zone.id, on.delegation.id, NOW),
  revokeDelegationsOfSessions: (db, on) => repositories.revokeDelegationsOfSessions(db, on.zone.id, [on.root.id], NOW),
  revokeDelegationsWhere: (db, on) => repositories.revokeDelegationsWhere(db, on.zone.id, { sessions: [on.root.id] }, NOW),
  revokeEach: (db, on) =>
    repositories.revokeEach(db, [{ id: ids.revocation, zone: on.zone.id, kind: 'session', target: on.root.id, ...why }], NOW),
  revokedAmong: (db, on) => repositories.revokedAmong(db, [on.zone.id], 'subject', ['sub_1']),
  searchEntries: (db, on) => repositories.searchEntries(db, on.zone.id, { type: 'call.allowed' }, FIRST),
  standingRevocations: (db, on) => repositories.standingRevocations(db, on.zone.id),
  suspendSubtree: (db, on) => repositories.suspendSubtree(db, on.zone.id, on.root.id, NOW),
  takeLease: (db, on) => repositories.takeLease(db, { zone: on.zone.id, session: on.leased.id, expiresAt: LATER }, NOW),
  takeUnconfirmed: (db) => repositories.takeUnconfirmed(db, 'caracal.audit.events', 30, 10),
  updateApplication: (db, on) => repositories.updateApplication(db, on.application, { name: 'renamed' }, NOW),
  updateProvider: (db, on) => repositories.updateProvider(db, on.provider, { name: 'renamed', secret: null }, NOW),
  updateResource: (db, on) =>
    repositories.updateResource(db, on.resource, sampleResourceFields({ name: 'n', identifier: 'https://n.example' }), NOW),
  updateZone: (db, on) => repositories.updateZone(db, on.zone, { name: 'renamed' }, NOW),
  writeSetting: (db) => repositories.writeSetting(db, 'issuer', 'x', NOW),
  archiveBudget: (db, on) => repositories.archiveBudget(db, on.budget, NOW),
  changeSpans: (db, on) => repositories.changeSpans(db, on.zone.id, [{ budget: on.budget.id, startsAt: 0, spent: 1n, reserved: -1n }]),
  chargesDue: async (db, on) => (await repositories.chargesDue(db, NOW, NOW, 10)).filter(({ zone }) => zone === on.zone.id),
  createBudget: (db, on) => {
    const fields = { name: 'new', holder: on.application.id, limit: { calls: 1 }, window: 'total', per: null } as const
    return repositories.createBudget(db, { ...fields, id: ids.budget, zone: on.zone.id }, NOW)
  },
  expireCharges: (db, on) => repositories.expireCharges(db, on.zone.id, [on.charge.request], NOW),
  findBudget: (db, on) => repositories.findBudget(db, on.zone.id, on.budget.id),
  findBudgetByName: (db, on) => repositories.findBudgetByName(db, on.zone.id, on.budget.name),
  forgetCharges: async (db, on) => [
    await repositories.expireCharges(db, on.zone.id, [on.charge.request], NOW),
    await repositories.forgetCharges(db, on.zone.id, [on.charge.request]),
  ],
  forgetSpans: (db, on) => repositories.forgetSpans(db, on.zone.id, [{ budget: on.budget.id, since: 1 }]),
  listBudgets: (db, on) => repositories.listBudgets(db, on.zone.id, FIRST, { holder: on.application.id }),
  listUsage: (db, on) => repositories.listUsage(db, on.zone.id, { budget: on.budget.id }, FIRST),
  lockBudgets: (db, on) => repositories.lockBudgets(db, on.zone.id, { holders: [on.application.id], ids: [on.budget.id] }),
  readBook: (db, on) =>
    repositories.readBook(db, on.zone.id, {
      requests: [on.charge.request, on.usage.request],
      spans: [{ budget: on.budget.id, since: 0 }],
    }),
  purgeUsage: (db, on) => repositories.purgeUsage(db, on.zone.id, [on.usage.request]),
  readSlices: (db, on) => repositories.readSlices(db, on.zone.id, [on.slice]),
  removeSlices: (db, on) => repositories.removeSlices(db, on.zone.id, [on.slice]),
  slicesLost: async (db, on) => (await repositories.slicesLost(db, NOW, 10)).filter(({ zone }) => zone === on.zone.id),
  usageBefore: async (db, on) => (await repositories.usageBefore(db, NOW + 1, 10)).filter(({ zone }) => zone === on.zone.id),
  writeSlices: (db, on) => repositories.writeSlices(db, on.zone.id, [{ ...on.slice, amount: 0n }]),
  readSpans: (db, on) => repositories.readSpans(db, on.zone.id, [{ budget: on.budget.id, since: 0 }]),
  sumUsage: (db, on) => repositories.sumUsage(db, on.zone.id, 'resource', {}, FIRST),
  takeCharges: (db, on) => repositories.takeCharges(db, on.zone.id, [on.charge.request]),
  updateBudget: (db, on) => {
    const fields = { name: 'renamed', holder: on.application.id, limit: { calls: 1 }, window: 'total', per: null } as const
    return repositories.updateBudget(db, on.budget, fields, NOW)
  },
  writeBook: (db, on) =>
    repositories.writeBook(db, on.zone.id, {
      changed: [{ budget: on.budget.id, startsAt: 0, spent: 1n, reserved: -1n }],
      begun: [{ budget: on.budget.id, startsAt: NOW, spent: 0n, reserved: 1n }],
      charges: [{ ...on.charge, request: ids.request }],
      usage: [{ ...on.usage, request: ids.request }],
    }),
  zoneKeyHistory: (db, on) => repositories.zoneKeyHistory(db, on.zone.id, 'log'),
  zoneVersions: (db) => repositories.zoneVersions(db),
}

/** What is exported beside the repositories: it asks no database, or opens one. */
const NO_REPOSITORY =
  /^(?:inZone|timestamp|nullableTimestamp|json|to[A-Z].*|is(?:UniqueViolation|ForeignKeyViolation|DatabaseOutage)|draftBlocks|extendsInOneStatement|openBlock|searchedValue|openDatabase|storedOf|schemaCompatibility)$/

/** What each app imports, and what the shared packages call for all of them. */
const EVERY_SERVICE = ['keepUnconfirmed', 'oldestUnconfirmed', 'takeUnconfirmed', 'isReadOnly', 'enqueue']
const FOLLOWERS = ['revocationsSince', 'standingRevocations']

/** Charges are kept in a package of their own, which acts as the STS; the API reads balances with it. */
const CHARGES = '../../budgets/src'

function calledBy(service: ServiceRole): readonly string[] {
  const folders = [`../../../apps/${service}/src`, ...(service === 'sts' ? [CHARGES] : [])]
  const files = folders.flatMap((name) => {
    const folder = fileURLToPath(new URL(name, import.meta.url))
    return readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file))
  })
  const sources = files.filter((file) => file.endsWith('.ts') && !/test(?:-support|\.ts)/.test(file))
  const names = sources.flatMap((file) => {
    const imports = readFileSync(file, 'utf8').matchAll(/import \{([^}]*)\} from '@caracal\/postgres'/g)
    return [...imports].flatMap(([, list = '']) => list.split(',').map((name) => name.trim().split(' as ')[0] ?? ''))
  })
  const shared = [
    ...EVERY_SERVICE,
    ...(service === 'sts' || service === 'coordinator' ? FOLLOWERS : []),
    ...(service === 'api' ? ['readSpans'] : []),
  ]
  return [...new Set([...names, ...shared])]
    .filter((name) => /^[a-z]/.test(name) && !name.startsWith('type ') && !NO_REPOSITORY.test(name))
    .sort()
}

class Undo extends Error {}

describe('repositories', () => {
  let database: Database
  let one: SampleInstallation

  beforeAll(async () => {
    database = await repositories.openDatabase({ url: await managedDatabaseUrl() })
    await repositories.migrateUp(database)
    one = await sampleInstallation(database.query)
    await sampleInstallation(database.query)
  })
  afterAll(() => database?.close())

  /** What a call gives, and nothing is left of it. */
  const outcome = async (as: Database, call: Call): Promise<unknown> => {
    let found: unknown
    await inZone(one.zone.id, () =>
      as.transaction(async (tx) => {
        found = await call(tx, one)
        throw new Undo()
      }),
    ).catch((error: unknown) => {
      if (!(error instanceof Undo)) throw error
    })
    return found
  }

  test.each(['api', 'sts', 'audit', 'coordinator'] as const)(
    '[P-132] every repository method that %s calls does under its role what it does for the owner',
    async (service) => {
      const names = calledBy(service)
      expect(names.length).toBeGreaterThan(10)
      const failed: string[] = []
      for (const name of names) {
        const call = CALLS[name]
        if (call === undefined) {
          failed.push(`${name}: is not tried here`)
          continue
        }
        try {
          const asOwner = await outcome(database, call)
          expect(await outcome(database.as(service), call)).toEqual(asOwner)
        } catch (error) {
          failed.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
        }
      }
      expect(failed).toEqual([])
    },
  )
})
