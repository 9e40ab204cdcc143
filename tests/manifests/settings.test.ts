import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkedEnvironment } from '../../apps/cli/src/compact/checked-environment.ts'
import { compactConfiguration } from '../../apps/cli/src/compact/compact-settings.ts'
import { CONFIGURATIONS } from '../../apps/cli/src/role-configurations.ts'
import type { Role } from '../../apps/cli/src/roles.ts'
import { at, one } from './manifests.ts'

const folder = mkdtempSync(join(tmpdir(), 'caracal-settings-'))
const data = one('ConfigMap', 'caracal-config').data as Readonly<Record<string, string>>
const GATEWAY: readonly [Role, readonly Role[]] = ['gateway', ['api', 'sts', 'audit', 'coordinator']]
const ADAPTER: readonly [Role, readonly Role[]] = ['mcp-adapter', ['sts']]

/** Every setting that the two processes take, by name. */
const described = new Map(
  [compactConfiguration, ...Object.values(CONFIGURATIONS)].flatMap((configuration) =>
    configuration.describe().map((one) => [one.name, one] as const),
  ),
)
const nameOf = (key: string) => (described.has(key) ? key : key.replace(/_FILE$/, ''))

beforeAll(() => {
  const run = (program: string, ...args: string[]) => execFileSync(program, args, { cwd: folder, stdio: 'ignore' })
  // The document's own commands, with keys that are made faster.
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-days', '365', '-nodes']
  run('openssl', 'req', '-x509', ...ec, '-keyout', 'server.key', '-out', 'server.crt', '-subj', '/CN=caracal-gateway')
  run('openssl', 'req', '-x509', ...ec, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=caracal-ca')
  run('openssl', 'genrsa', '-out', 'jwt_private.pem', '2048')
  run('openssl', 'rsa', '-in', 'jwt_private.pem', '-pubout', '-out', 'jwt_public.pem')
})
afterAll(() => rmSync(folder, { recursive: true }))

/** The environment of a container as Kubernetes would make it, its mounted files in a folder. */
function environmentOf(deployment: string): Record<string, string> {
  const own = at(one('Deployment', deployment), 'spec.template.spec.containers.0.env') as { name: string; value: string }[]
  const all = { ...data, ...Object.fromEntries(own.map(({ name, value }) => [name, value])), DB_PASSWORD: 'q8mPp3Gk2v9Xr7Lw' }
  const placed = Object.entries(all).map(([name, value]) => [name, value.replace('/etc/caracal/tls', folder)])
  const { DB_PASSWORD_FILE: _, ...environment } = Object.fromEntries(placed) as Record<string, string>
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !/^(?:ZONE_KEK|METRICS_BEARER|ADMIN_TOKEN)_FILE$/.test(name)))
}

test('[4-04] every key of caracal-config is a setting, and none is a secret', () => {
  const wrong = Object.keys(data).filter((key) => described.get(nameOf(key)) === undefined)
  expect(wrong).toEqual([])
  const secret = Object.keys(data).filter((key) => described.get(nameOf(key))?.secret && !key.endsWith('_FILE'))
  expect(secret).toEqual([])
})

test.each([
  ['caracal-gateway', ...GATEWAY],
  ['caracal-mcp-adapter', ...ADAPTER],
] as const)('%s starts with what the manifests say, once the password is a real one', (deployment, role, beside) => {
  const { edge } = checkedEnvironment(role, beside, environmentOf(deployment))
  expect(edge).toMatchObject(
    role === 'gateway' ? { HOST: '0.0.0.0', PORT: 8443, METRICS_PORT: 9090 } : { HOST: '0.0.0.0', PORT: 8080, METRICS_PORT: 8080 },
  )
})

test.each([
  ['CARACAL_MODE', 'production'],
  ['AUTH_MODE', 'password'],
  ['MCP_AUTH_MODE', 'mtls'],
  ['JWT_ALGORITHM', 'none'],
  ['REPLAY_WINDOW', '300'],
  ['PROVISIONAL_CHARGE_EXPIRATION', '2h'],
  ['MCP_SERVERS', 'tools'],
])('%s=%s in the ConfigMap stops a process and is named', (key, value) => {
  const told = [['caracal-gateway', GATEWAY] as const, ['caracal-mcp-adapter', ADAPTER] as const].map(([deployment, [role, beside]]) => {
    try {
      checkedEnvironment(role, beside, { ...environmentOf(deployment), [key]: value })
      return ''
    } catch (error) {
      return String(error)
    }
  })
  expect(told.join('\n')).toContain(`${key} `)
})
