import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { OPTIONAL_KEYS, runtimeSecret } from '../../apps/cli/src/runtime-secret.ts'
import { SECRET_KEYS } from '../../packages/service/src/deploy-contract.ts'

const folder = join(import.meta.dirname, 'caracal', 'examples', 'external-secrets')
const read = (name: string) => readFileSync(join(folder, name), 'utf8')

type Remote = { readonly secretKey: string; readonly remoteRef: { readonly key: string; readonly property?: string } }
type Manifest = {
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly spec: {
    readonly data: readonly Remote[]
    readonly target: {
      readonly template: {
        readonly data: Readonly<Record<string, string>>
        readonly templateFrom: readonly { readonly literal: string }[]
      }
    }
  }
}

const REMOTE = {
  'caracal/postgres': ['username', 'password', 'host', 'port', 'database'],
  'caracal/redis': ['password', 'host', 'port', 'database'],
  'caracal/zone-kek': [],
  'caracal/audit-hmac-key': [],
  'caracal/streams-hmac-key': [],
  'caracal/gateway-sts-hmac-key': [],
  'caracal/admin-token': [],
  'caracal/coordinator-token': [],
  'caracal/sts-admin-token': [],
  'caracal/audit-admin-token': [],
  'caracal/metrics-bearer': [],
}

function remotes(manifest: Manifest): Readonly<Record<string, readonly string[]>> {
  const found: Record<string, string[]> = {}
  for (const { remoteRef } of manifest.spec.data) {
    const before = found[remoteRef.key] ?? []
    found[remoteRef.key] = remoteRef.property === undefined ? before : [...before, remoteRef.property]
  }
  return found
}

describe('examples/external-secrets', () => {
  test('[2-08] the remote names and properties are exactly those of the documentation', () => {
    expect(remotes(parse(read('externalsecret-runtime.yaml')) as Manifest)).toEqual(REMOTE)
  })

  test('where names take no slash they have a dash, and nothing else differs', () => {
    const dashed = Object.fromEntries(Object.entries(REMOTE).map(([key, properties]) => [key.replaceAll('/', '-'), properties]))
    expect(remotes(parse(read('externalsecret-runtime-dashed.yaml')) as Manifest)).toEqual(dashed)
  })

  test('what comes out has the keys of the contract: required ones always, optional ones when they are there', () => {
    const { template } = (parse(read('externalsecret-runtime.yaml')) as Manifest).spec.target
    const required = Object.entries(SECRET_KEYS).flatMap(([key, one]) => (one.required ? [key] : []))
    const optional = Object.entries(SECRET_KEYS).flatMap(([key, one]) => (one.required ? [] : [key]))
    expect(Object.keys(template.data).toSorted()).toEqual(required.toSorted())
    expect(template.templateFrom.map(({ literal }) => /index \. "(\w+)"/.exec(literal)?.[1])).toEqual(optional)
  })

  test('`caracal secrets generate` makes the same keys', () => {
    const store = { host: 'store.internal', port: 1 }
    const made = runtimeSecret({
      database: { ...store, name: 'caracal', user: 'caracal', sslMode: 'verify-full' },
      redis: { ...store, database: 0, tls: true },
      optional: OPTIONAL_KEYS,
      keep: {},
    })
    expect(Object.keys(made).toSorted()).toEqual(Object.keys(SECRET_KEYS).toSorted())
  })

  test.each(['aws', 'gcp', 'azure'])(
    '[2-03] secretstore-%s.yaml has the namespace first and a store that the ExternalSecrets name',
    (cloud) => {
      const documents = parseAllDocuments(read(`secretstore-${cloud}.yaml`)).map((one) => one.toJS() as Manifest)
      expect(documents.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
        'Namespace caracal',
        'ServiceAccount caracal-external-secrets',
        'SecretStore caracal',
      ])
      expect(documents.slice(1).every(({ metadata }) => metadata.namespace === 'caracal')).toBe(true)
    },
  )
})
