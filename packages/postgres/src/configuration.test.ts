import { newId, type PolicyDocument } from '@caracal/core'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import {
  addCredential,
  archiveApplication,
  createApplication,
  findApplication,
  findApplicationByName,
  listApplications,
  listCredentials,
  updateApplication,
} from './applications.ts'
import { describeOnBoth } from './both-databases.ts'
import { isForeignKeyViolation, isUniqueViolation } from './database-error.ts'
import { addPolicyVersion, createPolicy, findPolicy, latestPolicyVersion } from './policies.ts'
import { activatePolicySetVersion, activePolicy, listActivations } from './policy-activation.ts'
import { listReplicas, recordReplicas } from './policy-replicas.ts'
import { addPolicySetVersion, createPolicySet } from './policy-sets.ts'
import { archiveProvider, createProvider, findProviderSecret, updateProvider } from './providers.ts'
import { archiveResource, createResource, findResource, updateResource } from './resources.ts'
import { established, NOW, sampleApplication, sampleResource, sampleResourceFields, sampleZone } from './sample-zone.ts'
import { loadZoneConfiguration } from './zone-configuration.ts'
import { insertZoneKey, listZoneKeys, lockZoneKeys, promoteNextKey, retireKeys, type ZoneKey, zoneKeyHistory } from './zone-keys.ts'
import { archiveZone, bumpConfigVersion, createZone, findZone, findZoneByName, listZones, updateZone, zoneVersions } from './zones.ts'

describeOnBoth('configuration', (database) => {
  const db = () => database().query

  test('a zone is found by id and name, changes by version, and is gone when archived', async () => {
    const zone = await sampleZone(db())
    expect(await findZone(db(), zone.id)).toEqual(zone)
    expect(await findZoneByName(db(), zone.name)).toEqual(zone)
    const changed = established(await updateZone(db(), zone, { labels: ['a', 'b,"c"'] }, NOW + 1))
    expect(changed).toEqual({ ...zone, labels: ['a', 'b,"c"'], version: 2, updatedAt: NOW + 1 })
    expect(await updateZone(db(), zone, { labels: [] }, NOW)).toMatchObject({ reason: 'version_moved' })
    expect(await updateZone(db(), { id: newId('zone'), version: 1 }, {}, NOW)).toMatchObject({ reason: 'not_found' })
    expect(await archiveZone(db(), zone, NOW)).toMatchObject({ reason: 'version_moved' })
    established(await archiveZone(db(), changed, NOW))
    expect(await findZone(db(), zone.id)).toBeUndefined()
    expect(await archiveZone(db(), { id: zone.id, version: 3 }, NOW)).toMatchObject({ reason: 'not_found' })
  })

  test('of several changes of one version at once exactly one succeeds', async () => {
    const zone = await sampleZone(db())
    const results = await Promise.all(['a', 'b', 'c', 'd'].map((label) => updateZone(db(), zone, { labels: [label] }, NOW)))
    expect(results.filter((result) => result.ok)).toHaveLength(1)
  })

  test('names are unique per zone among what is not archived', async () => {
    const [one, two] = [await sampleZone(db()), await sampleZone(db())]
    const create = (zone: typeof one) => createApplication(db(), { id: newId('application'), zone: zone.id, name: 'same', labels: [] }, NOW)
    const first = established(await create(one))
    established(await create(two))
    expect(await create(one)).toMatchObject({ reason: 'conflict' })
    const other = await sampleApplication(db(), one)
    expect(await updateApplication(db(), other, { name: 'same' }, NOW)).toMatchObject({ reason: 'conflict' })
    established(await updateApplication(db(), first, { name: 'same' }, NOW))
    established(await archiveApplication(db(), { ...first, version: 2 }, NOW))
    established(await updateApplication(db(), other, { name: 'same' }, NOW))
    expect((await findApplicationByName(db(), one.id, 'same'))?.id).toBe(other.id)
    expect(await createZone(db(), { id: newId('zone'), name: one.name, labels: [] }, NOW)).toMatchObject({ reason: 'conflict' })
  })

  test('[P-131] a row of another zone answers like an unknown one', async () => {
    const [mine, foreign] = [await sampleZone(db()), await sampleZone(db())]
    const application = await sampleApplication(db(), foreign)
    expect(await findApplication(db(), mine.id, application.id)).toBeUndefined()
    expect(await updateApplication(db(), { ...application, zone: mine.id }, {}, NOW)).toEqual({ ok: false, reason: 'not_found' })
    expect(await archiveApplication(db(), { ...application, zone: mine.id }, NOW)).toEqual({ ok: false, reason: 'not_found' })
  })

  test('[P-138] a row cannot refer to a row of another zone', async () => {
    const [mine, foreign] = [await sampleZone(db()), await sampleZone(db())]
    const application = await sampleApplication(db(), foreign)
    const secret = { kind: 'secret', digest: 'd', createdAt: NOW, expiresAt: null } as const
    const credential = addCredential(db(), { id: newId('credential'), zone: mine.id, application: application.id, ...secret })
    expect(isForeignKeyViolation(await credential.catch((error: unknown) => error))).toBe(true)
    const provider = established(
      await createProvider(
        db(),
        { id: newId('provider'), zone: foreign.id, name: 'p', hosts: [], expiresAt: null, method: { kind: 'none' }, secret: null },
        NOW,
      ),
    )
    const resource = createResource(db(), { ...sampleResourceFields({ provider: provider.id }), id: newId('resource'), zone: mine.id }, NOW)
    expect(isForeignKeyViolation(await resource.catch((error: unknown) => error))).toBe(true)
  })

  test('lists are exact: every page once, whatever comes and goes in between', async () => {
    const zone = await sampleZone(db())
    const made: string[] = []
    for (let i = 0; i < 5; i += 1) made.push((await sampleApplication(db(), zone)).id)
    const first = await listApplications(db(), zone.id, { limit: 2 })
    await sampleApplication(db(), zone)
    const second = await listApplications(db(), zone.id, { limit: 10, after: first.next ?? '' })
    const listed = [...first.items, ...second.items].map(({ id }) => id)
    expect(listed.filter((id) => made.includes(id))).toEqual(made.sort())
    expect(second.next).toBeNull()
    expect((await listZones(db(), { limit: 1 })).items).toHaveLength(1)
  })

  test('credentials are kept whole and go with their application', async () => {
    const zone = await sampleZone(db())
    const application = await sampleApplication(db(), zone)
    const common = { zone: zone.id, application: application.id, createdAt: NOW, expiresAt: NOW + 1 } as const
    const secret = { id: newId('credential'), ...common, kind: 'secret', digest: 'abc' } as const
    const jwk = { id: newId('credential'), ...common, expiresAt: null, kind: 'jwk', jwk: { kty: 'EC', x: 'ü"' } } as const
    await addCredential(db(), secret)
    await addCredential(db(), jwk)
    expect(await listCredentials(db(), zone.id, application.id)).toEqual([secret, jwk].sort((a, b) => (a.id < b.id ? -1 : 1)))
    established(await archiveApplication(db(), application, NOW))
    expect(await listCredentials(db(), zone.id, application.id)).toEqual([])
  })

  test('[P-137] a resource and a provider come back as they were written, extremes included', async () => {
    const zone = await sampleZone(db())
    const method = {
      kind: 'oauth2_client_credentials',
      tokenEndpoint: 'https://idp.example/token',
      clientId: 'ü',
      clientAuthentication: 'client_secret_basic',
      scope: '',
      egressAllow: ['10.0.0.0/8'],
    } as const
    const sealed = { sealed: 's1', version: 1, digest: null }
    const fields = { name: 'p', hosts: ['a.example:443'], expiresAt: 8.64e15, method }
    const provider = established(await createProvider(db(), { id: newId('provider'), zone: zone.id, ...fields, secret: sealed }, NOW))
    expect(provider).toMatchObject({ expiresAt: 8.64e15, ...method })
    expect(await findProviderSecret(db(), zone.id, provider.id)).toEqual({ sealed: 's1', version: 1 })
    const renamed = established(await updateProvider(db(), provider, { name: 'q', expiresAt: null }, NOW))
    expect(await findProviderSecret(db(), zone.id, provider.id)).toEqual({ sealed: 's1', version: 1 })
    const emptied = established(await updateProvider(db(), renamed, { method: { kind: 'none' }, secret: null }, NOW))
    expect(emptied).not.toHaveProperty('tokenEndpoint')
    expect(await findProviderSecret(db(), zone.id, provider.id)).toBeNull()

    const wanted = sampleResourceFields({
      provider: provider.id,
      operations: [{ method: '*', path: '/a/{b+}', scope: 's' }],
      maxBodyBytes: Number.MAX_SAFE_INTEGER,
      timeouts: { connect: 0.25, firstByte: 1, idle: 1, stream: 1e6 },
    })
    const resource = established(await createResource(db(), { ...wanted, id: newId('resource'), zone: zone.id }, NOW))
    expect(await findResource(db(), zone.id, resource.id)).toEqual(resource)
    expect(resource).toMatchObject(wanted)
    expect(await archiveProvider(db(), emptied, NOW)).toMatchObject({ reason: 'conflict' })
    const taken = await sampleResource(db(), zone)
    expect(await updateResource(db(), resource, { ...wanted, identifier: taken.identifier }, NOW)).toMatchObject({ reason: 'conflict' })
    const updated = established(await updateResource(db(), resource, { ...wanted, provider: null }, NOW))
    established(await archiveProvider(db(), emptied, NOW))
    established(await archiveResource(db(), updated, NOW))
  })

  test('policy versions are made once per content; of several activations of one generation exactly one succeeds', async () => {
    const zone = await sampleZone(db())
    const [policy, set] = [newId('policy'), newId('policySet')]
    established(await createPolicy(db(), { id: policy, zone: zone.id, name: 'p' }, NOW))
    established(await createPolicySet(db(), { id: set, zone: zone.id, name: 'default' }, NOW))
    const version = (sha256: string) =>
      database().transaction(async (tx) =>
        established(
          await addPolicyVersion(
            tx,
            {
              id: newId('policyVersion'),
              zone: zone.id,
              policy,
              source: `# ${sha256}`,
              canonical: document(sha256),
              sha256,
              createdBy: 'me',
            },
            NOW,
          ),
        ),
      )
    const document = (name: string) => JSON.stringify({ kind: 'Policy', name, rules: [] } satisfies PolicyDocument)
    const made = await Promise.all(['one', 'one', 'one', 'two'].map(version))
    expect(made.filter(({ created }) => created)).toHaveLength(2)
    expect(new Set(made.map((m) => `${m.version.number} ${m.version.sha256}`)).size).toBe(2)
    expect((await findPolicy(db(), zone.id, policy))?.version).toBe(3)
    expect((await latestPolicyVersion(db(), zone.id, policy))?.number).toBe(2)

    const one = (await version('one')).version
    const setVersion = (sha256: string, member = one) =>
      database().transaction((tx) =>
        addPolicySetVersion(
          tx,
          {
            id: newId('policySetVersion'),
            zone: zone.id,
            policySet: set,
            members: [{ policy, version: member.id, sha256: member.sha256 }],
            sha256,
            createdBy: 'me',
          },
          NOW,
        ),
      )
    const first = established(await setVersion('s1'))
    expect(established(await setVersion('s1'))).toEqual({ ...first, created: false })
    const second = established(await setVersion('s2'))
    expect(await setVersion('s3', { ...one, sha256: 'other' })).toMatchObject({ reason: 'validation_failed' })
    expect(await setVersion('s3', { ...one, id: newId('policyVersion') })).toMatchObject({ reason: 'validation_failed' })

    const activate = (expected: number, version: typeof first.version) =>
      database().transaction((tx) => activatePolicySetVersion(tx, { zone: zone.id, setVersion: version.id, expected, by: 'me' }, NOW))
    const race = await Promise.all([activate(0, first.version), activate(0, second.version), activate(0, first.version)])
    expect(race.filter(({ ok }) => ok)).toHaveLength(1)
    expect(await activate(0, second.version)).toMatchObject({ reason: 'version_moved' })
    established(await activate(1, second.version))
    established(await activate(2, first.version))
    expect(await activePolicy(db(), zone.id)).toMatchObject({ generation: 3, setVersion: first.version.id })
    const history = await listActivations(db(), zone.id, { limit: 2 })
    expect(history.items.map(({ generation, previous }) => [generation, previous])).toEqual([
      [3, second.version.id],
      [2, race.find((r) => r.ok)?.value.setVersion],
    ])
    expect(await activate(3, { ...first.version, id: newId('policySetVersion') })).toMatchObject({ reason: 'not_found' })
    expect((await loadZoneConfiguration(db(), zone.id))[0]?.policy).toEqual({
      setVersion: first.version.id,
      sha256: 's1',
      documents: [{ kind: 'Policy', name: 'one', rules: [] }],
    })
  })

  test.each(['policy_versions', 'policy_set_versions', 'policy_activations'])('%s are immutable', async (table) => {
    const refused = /append-only/
    await expect(sql`truncate ${sql.table(table)} cascade`.execute(db())).rejects.toThrow(refused)
    await expect(sql`update ${sql.table(table)} set zone = zone`.execute(db())).rejects.toThrow(refused)
    await expect(sql`delete from ${sql.table(table)}`.execute(db())).rejects.toThrow(refused)
  })

  test('a zone has one current and one next key of a kind; turning them keeps the public halves', async () => {
    const zone = await sampleZone(db())
    const key = (kid: string, state: ZoneKey['state']): ZoneKey => ({
      zone: zone.id,
      kind: 'signing',
      kid,
      state,
      publicJwk: { kty: 'EC', kid },
      sealed: `sealed ${kid}`,
      createdAt: NOW,
      activatesAt: NOW,
      retiresAt: null,
    })
    await insertZoneKey(db(), key('a', 'current'))
    expect(isUniqueViolation(await insertZoneKey(db(), key('b', 'current')).catch((error: unknown) => error))).toBe(true)
    expect(await promoteNextKey(db(), zone.id, 'signing', NOW)).toBe(false)
    await insertZoneKey(db(), key('b', 'next'))
    await database().transaction(async (tx) => {
      await lockZoneKeys(tx, zone.id, 'signing')
      expect(await promoteNextKey(tx, zone.id, 'signing', NOW + 1000)).toBe(true)
    })
    const states = async () => (await listZoneKeys(db(), zone.id)).map(({ kid, state }) => `${kid} ${state}`)
    expect(await states()).toEqual(['a previous', 'b current'])
    expect(await retireKeys(db(), zone.id, 'signing', NOW + 999)).toBe(0)
    expect(await retireKeys(db(), zone.id, 'signing', NOW + 1000)).toBe(1)
    expect(await states()).toEqual(['b current'])
    expect((await zoneKeyHistory(db(), zone.id, 'signing')).map(({ kid }) => kid)).toEqual(['a', 'b'])
    expect((await sql<{ sealed: string }>`select sealed from zone_keys where kid = 'a'`.execute(db())).rows[0]?.sealed).toBe('')
  })

  test('the configuration of one zone or of all comes in at most nine statements, without what is archived', async () => {
    const zone = await sampleZone(db())
    const [kept, gone] = [await sampleApplication(db(), zone), await sampleApplication(db(), zone)]
    await sampleResource(db(), zone)
    established(await archiveApplication(db(), gone, NOW))
    expect(await bumpConfigVersion(db(), zone.id)).toBe(2)
    const before = database().statements()
    const [configuration] = await loadZoneConfiguration(db(), zone.id)
    expect(database().statements() - before).toBeLessThanOrEqual(9)
    expect(configuration).toMatchObject({ zone: { id: zone.id }, version: 2, policy: null, applications: [{ id: kept.id }] })
    const beforeAll = database().statements()
    expect((await loadZoneConfiguration(db())).length).toBeGreaterThan(1)
    expect(database().statements() - beforeAll).toBeLessThanOrEqual(9)
    expect(await loadZoneConfiguration(db(), newId('zone'))).toEqual([])
    expect(await zoneVersions(db())).toContainEqual({ zone: zone.id, version: 2, policy: null })
  })

  test('what replicas serve is recorded per zone; unknown zones are passed over', async () => {
    const zone = await sampleZone(db())
    const state = { zone: zone.id, replica: 'gw-1', role: 'gateway', setVersion: null, configVersion: 1, error: null, seenAt: NOW }
    await recordReplicas(db(), [state, { ...state, zone: newId('zone') }])
    await recordReplicas(db(), [{ ...state, configVersion: 2, seenAt: NOW + 5 }])
    expect(await listReplicas(db(), zone.id, NOW)).toEqual([{ ...state, configVersion: 2, seenAt: NOW + 5 }])
    expect(await listReplicas(db(), zone.id, NOW + 6)).toEqual([])
  })
})
