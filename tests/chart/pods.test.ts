import { describe, expect, test } from 'vitest'
import { COMPONENTS as CONTRACT, SECRET_KEYS, SERVICE_NAMES } from '../../packages/service/src/deploy-contract.ts'
import { type KubeObject, render } from './helm.ts'
import { EVALUATION, PLAINTEXT, PRODUCTION, PROFILES, WITH_MCP_ADAPTER } from './profiles.ts'
import { at, isMap, listAt, mapAt, textAt } from './tree.ts'

const containersOf = (spec: unknown) => [...listAt(spec, 'initContainers'), ...listAt(spec, 'containers')]

describe.each(Object.entries(PROFILES))('every pod of %s', (name, asked) => {
  test('passes the restricted standard, has no token, a read-only root and requests', async () => {
    for (const { owner, spec } of (await render(asked)).pods()) {
      expect([owner, at(spec, 'automountServiceAccountToken'), at(spec, 'enableServiceLinks')]).toEqual([owner, false, false])
      expect(at(spec, 'securityContext')).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } })
      for (const field of ['hostNetwork', 'hostPID', 'hostIPC']) expect(at(spec, field)).toBeUndefined()
      for (const volume of listAt(spec, 'volumes')) expect(at(volume, 'hostPath')).toBeUndefined()
      for (const container of containersOf(spec)) {
        expect(at(container, 'securityContext')).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        })
        expect([owner, textAt(container, 'resources.requests.cpu'), textAt(container, 'resources.requests.memory')]).not.toContain('')
        expect(textAt(container, 'resources.limits.memory')).not.toBe('')
        expect(at(container, 'resources.limits.cpu')).toBeUndefined()
        expect(at(container, 'command')).toBeUndefined()
      }
    }
  })

  test('[1-15] [2-20] reads secrets as files: no variable holds or takes one', async () => {
    for (const { owner, spec } of (await render(asked)).pods())
      for (const container of containersOf(spec)) {
        expect(at(container, 'envFrom')).toBeUndefined()
        for (const entry of listAt(container, 'env')) {
          expect([owner, at(entry, 'valueFrom.secretKeyRef')]).toEqual([owner, undefined])
          if (/(_URL|_KEK|_KEY|TOKEN|PASSWORD|BEARER|SECRET)$/.test(textAt(entry, 'name')))
            expect(textAt(entry, 'value')).toMatch(/^http:\/\/caracal-[a-z]+\.caracal\.svc:\d+$|^https:\/\/caracal-sts\.caracal\.svc$/)
        }
        for (const mount of listAt(container, 'volumeMounts')) expect(at(mount, 'subPath')).toBeUndefined()
      }
  })

  test('every object says whose it is, and carries the labels that its selectors ask for', async () => {
    const objects = await render(asked)
    for (const object of objects.all) {
      const labels = mapAt(object, 'metadata.labels')
      expect(labels).toMatchObject({
        'app.kubernetes.io/name': 'caracal',
        'app.kubernetes.io/instance': 'caracal',
        'app.kubernetes.io/part-of': 'caracal',
        // The labels of a pod are those of its template, which do not change with the chart.
        ...(object.kind === 'Pod' ? {} : { 'app.kubernetes.io/managed-by': 'Helm' }),
      })
      expect(textAt(object, 'metadata.namespace')).toBe('caracal')
    }
    expect(new Set(objects.list()).size).toBe(objects.all.length)
    for (const service of objects.ofKind('Service')) {
      const selector = Object.entries(mapAt(service, 'spec.selector'))
      const behind = objects.pods().filter(({ metadata }) => selector.every(([key, value]) => mapAt(metadata, 'labels')[key] === value))
      expect([textAt(service, 'metadata.name'), behind.length]).toEqual([textAt(service, 'metadata.name'), 1])
    }
  })

  test('[2-12] [2-04] [1-01] no Secret is rendered unless the values make it', async () => {
    const names = (await render(asked)).names('Secret')
    expect(names).toEqual(name === 'evaluation' ? ['caracal-migrate-secret', 'caracal-runtime'] : [])
  })
})

describe('the runtime Secret', () => {
  test('[1-08] is mounted key by key: each service has what the contract names, all together every key', async () => {
    const objects = await render({ ...WITH_MCP_ADAPTER, set: { 'secrets.metricsBearer.enabled': 'true' } })
    const all = new Set<string>()
    for (const component of SERVICE_NAMES) {
      const keys = mountedKeys(objects.workload(component))
      expect(keys).toEqual(
        CONTRACT[component].keys
          .filter(({ when }) => when !== 'postgres-streams')
          .map(({ key, required }) => `${key}${required ? '' : ' (optional)'}`)
          .toSorted(),
      )
      for (const key of keys) all.add(key.replace(' (optional)', ''))
    }
    const migration = objects.one('Job', 'caracal-migrate')
    for (const key of mountedKeys(migration)) all.add(key)
    // The password alone is for a migration that is told its host.
    expect([...all].toSorted()).toEqual(
      Object.keys(SECRET_KEYS)
        .filter((key) => key !== 'postgresPassword')
        .toSorted(),
    )
    const hosted = await render({ ...PRODUCTION, set: { 'secrets.database.host': 'pg.internal.acme.io' } })
    expect(mountedKeys(hosted.one('Job', 'caracal-migrate'))).toContain('postgresPassword')
  })

  test('[0-16] exists before: renaming it moves every mount, and the chart makes none', async () => {
    const objects = await render({ ...PRODUCTION, set: { 'secrets.runtimeSecretName': 'elsewhere' } })
    expect(objects.names('Secret')).toEqual([])
    const used = objects.pods().flatMap(({ spec }) => secretNames(spec))
    expect([...new Set(used)]).toEqual(['elsewhere'])
  })

  test('[0-16] [1-02] is made in an evaluation from the given values, for the migration too', async () => {
    const objects = await render(EVALUATION)
    for (const name of ['caracal-runtime', 'caracal-migrate-secret']) {
      const secret = objects.one('Secret', name)
      const given = { ...mapAt(secret, 'data'), ...mapAt(secret, 'stringData') }
      const decoded = Object.fromEntries(
        Object.entries(given).map(([key, value]) => [
          key,
          at(secret, `data.${key}`) === undefined ? value : Buffer.from(String(value), 'base64').toString(),
        ]),
      )
      for (const [key, value] of Object.entries(decoded))
        expect([name, key, value]).toEqual([name, key, PLAINTEXT[key as keyof typeof PLAINTEXT]])
    }
    expect(
      Object.keys({
        ...mapAt(objects.one('Secret', 'caracal-runtime'), 'data'),
        ...mapAt(objects.one('Secret', 'caracal-runtime'), 'stringData'),
      }).toSorted(),
    ).toEqual(Object.keys(PLAINTEXT).toSorted())
  })
})

function projected(object: unknown): readonly unknown[] {
  return listAt(object, 'volumes').flatMap((volume) => [
    ...listAt(volume, 'projected.sources').map((source) => at(source, 'secret')),
    ...(isMap(at(volume, 'secret')) ? [at(volume, 'secret')] : []),
  ])
}

function mountedKeys(workload: KubeObject): readonly string[] {
  return projected(at(workload, 'spec.template.spec'))
    .flatMap((secret) =>
      listAt(secret, 'items').map((item) => `${textAt(item, 'path')}${at(secret, 'optional') === true ? ' (optional)' : ''}`),
    )
    .toSorted()
}

function secretNames(spec: unknown): readonly string[] {
  return projected(spec).map((secret) => textAt(secret, 'name') || textAt(secret, 'secretName'))
}
