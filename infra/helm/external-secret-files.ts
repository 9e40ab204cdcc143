import { stringify } from 'yaml'
import { SECRET_KEYS, type SecretKeyDescription } from '../../packages/service/src/deploy-contract.ts'

/** How a secret manager spells names: some do not take a slash. */
export type RemoteSpelling = 'slashed' | 'dashed'

/** Connection strings are composed, so that a password may hold anything. */
const COMPOSED: Readonly<Record<string, string>> = {
  databaseUrl: `postgres://${encoded('postgresUsername')}:${encoded('postgresPassword')}@{{ .postgresHost }}:{{ .postgresPort }}/${encoded('postgresDatabase')}?sslmode=verify-full`,
  redisUrl: `rediss://:${encoded('redisPassword')}@{{ .redisHost }}:{{ .redisPort }}/{{ .redisDatabase }}`,
}

/** In a URL, where a blank is %20 and not a plus. */
function encoded(value: string): string {
  return `{{ .${value} | urlquery | replace "+" "%20" }}`
}

/** The ExternalSecret that makes the runtime Secret: the same list for every secret manager. */
export function externalSecret(spelling: RemoteSpelling): string {
  const keys: readonly (readonly [string, SecretKeyDescription])[] = Object.entries(SECRET_KEYS)
  const required = keys.filter(([, { required }]) => required)
  const optional = keys.filter(([, { required }]) => !required)
  const manifest = {
    apiVersion: 'external-secrets.io/v1',
    kind: 'ExternalSecret',
    metadata: { name: 'caracal-runtime', namespace: 'caracal', labels: { 'app.kubernetes.io/part-of': 'caracal' } },
    spec: {
      refreshInterval: '1h',
      secretStoreRef: { kind: 'SecretStore', name: 'caracal' },
      target: {
        name: 'caracal-runtime',
        creationPolicy: 'Owner',
        deletionPolicy: 'Merge',
        template: {
          type: 'Opaque',
          engineVersion: 'v2',
          mergePolicy: 'Replace',
          data: Object.fromEntries(required.map(([key]) => [key, COMPOSED[key] ?? `{{ .${key} }}`])),
          templateFrom: optional.map(([key]) => ({
            target: 'Data',
            literal: `{{ with index . "${key}" }}${key}: {{ . | quote }}{{ end }}`,
          })),
        },
      },
      data: remoteRefs(keys, spelling),
    },
  }
  return `${HEADS[spelling]}${stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false })}`
}

const HEADS: Readonly<Record<RemoteSpelling, string>> = {
  slashed: `# The runtime Secret from your secret manager (AWS Secrets Manager: names with a slash). Apply a secretstore-*.yaml first.
# A Vault keeps fields below a name: there give every remoteRef without a property the field that holds the value.
# Made from packages/service/src/deploy-contract.ts by \`make chart\`; do not edit.
`,
  dashed: `# The runtime Secret from your secret manager (Google Secret Manager, Azure Key Vault: names without a slash). Apply a
# secretstore-*.yaml first. Made from packages/service/src/deploy-contract.ts by \`make chart\`; do not edit.
`,
}

/** Each remote value once; parts of a connection by the name that its template uses. */
function remoteRefs(keys: readonly (readonly [string, SecretKeyDescription])[], spelling: RemoteSpelling) {
  const refs = new Map<string, { key: string; property?: string }>()
  for (const [key, { from }] of keys) {
    for (const { remote, property } of from) {
      const name = spelling === 'dashed' ? remote.replaceAll('/', '-') : remote
      if (property === undefined) refs.set(key, { key: name })
      else refs.set(partName(remote, property), { key: name, property })
    }
  }
  return [...refs].map(([secretKey, remoteRef]) => ({ secretKey, remoteRef }))
}

/** `caracal/postgres`, `host` → `postgresHost`. */
function partName(remote: string, property: string): string {
  return `${remote.split('/').at(-1) ?? remote}${property.charAt(0).toUpperCase()}${property.slice(1)}`
}
