import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { hold, startExternalSecrets, stopExternalSecrets } from './external-secrets.ts'
import { helm, kubectl, NAMESPACE, pods, remove, SMALL_NODE, shell } from './installation.ts'
import { block, CARACAL } from './page-commands.ts'
import { inFolder, NODE_ADDRESS, POSTGRES_HOST, REDIS_HOST } from './place.ts'
import { run, tool, until } from './processes.ts'
import { databaseUrl, freshDatabase, POSTGRES_PASSWORD, REDIS_PASSWORD, redis, redisUrl, sql } from './stores.ts'
import { offerVolumes } from './volumes.ts'

const MANAGED = 'managed-kubernetes.md'
const ROLLOUT = 'plan-a-rollout.md'
const RESTORE = 'backup-and-restore.md'

/** Commands of a page, in a folder of their own. */
const inScratch = (commands: string): string => shell(`cd ${inFolder('scratch')}; ${commands.replaceAll('npx caracal', CARACAL)}`)

const key = () => randomBytes(32).toString('hex')
const token = () => randomBytes(32).toString('base64url')

/** Who reads, and as what: as the store file of AWS says it. */
const ROLES = { 'system:serviceaccount:caracal:caracal-external-secrets': 'arn:aws:iam::111122223333:role/caracal-external-secrets' }

/** The remote keys as the page lists them; both passwords hold every character that a URL would rather not have. */
const REQUIRED = {
  'caracal/postgres': JSON.stringify({
    username: 'caracal',
    password: POSTGRES_PASSWORD,
    host: POSTGRES_HOST,
    port: '5432',
    database: 'caracal',
  }),
  'caracal/redis': JSON.stringify({ password: REDIS_PASSWORD, host: REDIS_HOST, port: '6379', database: '0' }),
  'caracal/zone-kek': key(),
  'caracal/audit-hmac-key': key(),
  'caracal/streams-hmac-key': key(),
  'caracal/gateway-sts-hmac-key': key(),
  'caracal/admin-token': token(),
  'caracal/coordinator-token': token(),
}
/** What names each required key where it is missed. */
const MISSED: readonly (readonly [remote: keyof typeof REQUIRED, key: string])[] = [
  ['caracal/postgres', 'postgresUsername'],
  ['caracal/redis', 'redisPassword'],
  ['caracal/zone-kek', 'zoneKek'],
  ['caracal/audit-hmac-key', 'auditHmacKey'],
  ['caracal/streams-hmac-key', 'streamsHmacKey'],
  ['caracal/gateway-sts-hmac-key', 'gatewayStsHmacKey'],
  ['caracal/admin-token', 'adminToken'],
  ['caracal/coordinator-token', 'coordinatorToken'],
]
const OPTIONAL = {
  stsAdminToken: 'caracal/sts-admin-token',
  auditAdminToken: 'caracal/audit-admin-token',
  metricsBearer: 'caracal/metrics-bearer',
}

const KEYS = [
  ...['adminToken', 'auditHmacKey', 'coordinatorToken', 'databaseUrl', 'gatewayStsHmacKey'],
  ...['postgresPassword', 'redisUrl', 'streamsHmacKey', 'zoneKek'],
]

beforeAll(async () => {
  mkdirSync(inFolder('scratch'), { recursive: true })
  remove()
  freshDatabase('caracal')
  redis('FLUSHALL')
  offerVolumes()
  hold({ roles: {}, secrets: {} })
  await startExternalSecrets()
})

afterAll(async () => {
  // The operator lets its objects go only while it runs.
  remove()
  await stopExternalSecrets()
})

/** How much evidence there is. */
const logged = (): number => Number(sql('select coalesce(sum(size), 0) from log_heads', 'caracal'))
/** As who migrates, from where there is no name for it. */
const DATABASE = `postgres://caracal:${encodeURIComponent(POSTGRES_PASSWORD)}@${NODE_ADDRESS}:5432/caracal?sslmode=require`

const get = (...args: readonly string[]): string => kubectl('-n', NAMESPACE, 'get', ...args)
const ready = (kind: string, name: string): string => get(kind, name, '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}')
const secretThere = (): boolean => get('secret', 'caracal-runtime', '--ignore-not-found', '-o', 'name') !== ''
/** Looks after the operator was told to look again: left alone it waits the longer the more often it failed. */
const synced = (look: () => boolean): boolean => {
  kubectl('-n', NAMESPACE, 'annotate', '--overwrite', 'externalsecret', 'caracal-runtime', `force-sync=${Date.now()}`)
  return look()
}
const secret = (): Readonly<Record<string, string>> => {
  const { data } = JSON.parse(get('secret', 'caracal-runtime', '-o', 'json')) as { data: Readonly<Record<string, string>> }
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, Buffer.from(value, 'base64').toString()]))
}

/** One gate of the phase before a rollout; others may stop it. */
function gate(id: string) {
  const told = inScratch(`npx caracal --json rollout check --phase pre || true`)
  const { gates } = JSON.parse(told) as { gates: readonly { id: string; state: string; evidence: string }[] }
  return gates.find((one) => one.id === id)
}

/** Runs `caracal` with the stores as its environment, where names are those of the cluster. */
function withStores(url: string, command: string): string {
  const settings = `DATABASE_URL='${url}' REDIS_URL='${redisUrl(0)}' CA_BUNDLE_FILE=${inFolder('pki/ca.crt')}`
  const names = `mount --bind ${inFolder('resolv.conf')} /etc/resolv.conf`
  return run(['unshare', '--mount', 'bash', '-c', `set -e; ${names}; export ${settings}; ${command.replaceAll('npx caracal', CARACAL)}`])
}

function preflight(url: string, ...args: readonly string[]): readonly { name: string; ok: boolean; class?: string }[] {
  const told = withStores(url, `npx caracal --json preflight ${args.join(' ')} || true`)
  return (JSON.parse(told) as { checks: ReturnType<typeof preflight> }).checks
}

const MANAGED_POSTGRES = databaseUrl('caracal')
const onlooker = MANAGED_POSTGRES.replace(/\/\/[^@]+@/, '//onlooker:looks-on@')

test('[1-06] preflight finds nothing wrong with Postgres as a provider runs it', () => {
  expect(preflight(MANAGED_POSTGRES).filter(({ ok }) => !ok)).toEqual([])
})

test.each([
  ['a connection without TLS', MANAGED_POSTGRES.replace('verify-full', 'disable'), [], { name: 'database_connect', class: 'tls' }],
  ['a login that may not make tables', onlooker, [], { name: 'database_privilege', class: 'privilege' }],
  [
    'pools of more than four fifths of the connections',
    MANAGED_POSTGRES,
    ['--replicas', 'sts=40'],
    { name: 'connections', class: 'capacity' },
  ],
])('[1-06] preflight fails on %s', (_, url, args, wrong) => {
  sql("create role onlooker login password 'looks-on'")
  try {
    expect(preflight(url, ...args).filter(({ ok }) => !ok)).toContainEqual(expect.objectContaining(wrong))
  } finally {
    sql('drop role onlooker')
  }
})

test('[2-10] store first, then ExternalSecret, as the page prints it, where there was not even the namespace', () => {
  shell(block(MANAGED, 'secretstore-aws.yaml'))
  expect(get('secretstore', 'caracal', '-o', 'name')).toContain('caracal')
  expect(get('externalsecret', 'caracal-runtime', '-o', 'name')).toContain('caracal-runtime')
})

test('[2-10] without the role of the identity there is no Secret, and the store says so', async () => {
  await until('the store says it', 60, () => ready('secretstore', 'caracal') === 'InvalidProviderConfig')
  expect(secretThere()).toBe(false)
})

test.each(MISSED)('[2-10] without %s there is no Secret: the sync fails as a whole and names %s', async (missing, named) => {
  hold({ roles: ROLES, secrets: Object.fromEntries(Object.entries(REQUIRED).filter(([name]) => name !== missing)) })
  await until('the store is valid', 60, () => ready('secretstore', 'caracal') === 'Valid')
  const events = () =>
    get('events', '--field-selector', 'involvedObject.kind=ExternalSecret,reason=UpdateFailed', '-o', 'jsonpath={.items[*].message}')
  await until('the sync fails', 60, () => synced(() => events().includes(`map has no entry for key "${named}"`)))
  expect(ready('externalsecret', 'caracal-runtime')).toBe('SecretSyncedError')
  expect(secretThere()).toBe(false)
})

test('[2-10] [2-19] with every required key the ExternalSecret says SecretSynced, and the Secret is exactly what the chart mounts', async () => {
  hold({ roles: ROLES, secrets: REQUIRED })
  await until('it is in step', 60, () => synced(() => ready('externalsecret', 'caracal-runtime') === 'SecretSynced'))
  const data = secret()
  expect(Object.keys(data).toSorted()).toEqual(KEYS)
  const database = new URL(data.databaseUrl ?? '')
  expect([database.hostname, database.port, decodeURIComponent(database.password)]).toEqual([POSTGRES_HOST, '5432', POSTGRES_PASSWORD])
  const streams = new URL(data.redisUrl ?? '')
  expect([streams.protocol, streams.hostname, decodeURIComponent(streams.password)]).toEqual(['rediss:', REDIS_HOST, REDIS_PASSWORD])
  expect(data.zoneKek).toBe(REQUIRED['caracal/zone-kek'])
})

test('[2-19] the gate Secrets of the rollout check goes by it', () => {
  expect(gate('G14')).toMatchObject({ state: 'go', evidence: 'caracal-runtime in step' })
})

test.each(Object.entries(OPTIONAL))('[2-09] %s is there when the secret manager has it, and only then', async (name, remote) => {
  const value = token()
  hold({ roles: ROLES, secrets: { ...REQUIRED, [remote]: value } })
  await until('it came', 60, () => synced(() => secret()[name] === value))
  expect(Object.keys(secret()).toSorted()).toEqual([...KEYS, name].toSorted())
})

/** The replicas of that file, all Ready and none ending. */
const everybodyReady = (): boolean => {
  const services = pods().filter(({ component }) => component in REPLICAS)
  const counts = Object.groupBy(services, ({ component }) => component)
  return (
    services.every(({ ready, ending }) => ready && !ending) &&
    Object.entries(REPLICAS).every(([name, count]) => counts[name]?.length === count)
  )
}
const REPLICAS: Readonly<Record<string, number>> = { api: 2, sts: 3, gateway: 3, audit: 2, coordinator: 2 }

/** The installation as the page prints it; what is an example in that file comes in a file of one's own after it. */
const install = (...more: readonly string[]) => {
  const printed = block(MANAGED, 'values.cloud-managed.yaml').trimEnd()
  const command = printed.replace('<managed-postgres-host>', POSTGRES_HOST).replace('<managed-redis-host>', REDIS_HOST)
  shell(`${command} --values ${SMALL_NODE} --wait --timeout 300s ${more.join(' ')}`)
}
const canary = () =>
  expect(helm('helm-4', 'test', 'caracal', '-n', NAMESPACE, '--logs')).toMatch(/ok\s+inclusion proof[\s\S]*ok\s+revocation/)

test('[2-13] [2-19] the installation with the two --set, as the page prints it, runs on that Secret', async () => {
  kubectl('-n', NAMESPACE, 'create', 'secret', 'generic', 'stores-ca', `--from-file=ca.crt=${inFolder('pki/ca.crt')}`)
  install()
  await until('the replicas are there', 60, everybodyReady)
  expect(shell(block(MANAGED, 'get externalsecret').split('\n').slice(0, 2).join('\n'))).toContain('SecretSynced')
  canary()
})

test('[2-05] an emptied Redis takes nothing with it: what Postgres holds stands, and the streams are made anew', async () => {
  const before = logged()
  expect(before).toBeGreaterThan(0)
  const zones = sql('select id from zones order by id', 'caracal')
  redis('FLUSHALL')
  await until('everybody is Ready', 120, everybodyReady)
  canary()
  expect(sql('select id from zones order by id', 'caracal')).toContain(zones.trim())
  await until('there is more evidence than before', 60, () => logged() > before)
})

test('[2-17] images go back only while the schema fits them: else the rollback is refused and nothing has moved', async () => {
  install('--set', 'serviceMonitor.interval=31s')
  const interval = () => get('servicemonitor', 'caracal-api', '-o', 'jsonpath={.spec.endpoints[0].interval}')
  const floor = (text: string) => sql(`update schema_floor set floor = floor ${text}`, 'caracal')
  floor('+ 1000')
  try {
    expect(() => shell('helm -n caracal rollback caracal 1 --timeout 120s')).toThrow(/caracal-schema-check/)
  } finally {
    floor('- 1000')
  }
  expect(kubectl('-n', NAMESPACE, 'logs', 'job/caracal-schema-check')).toContain('roll forward')
  expect(interval()).toBe('31s')

  // Helm takes the refused one for an operation that goes on, until its record is gone: so the page says.
  const history = JSON.parse(shell('helm -n caracal history caracal --output json')) as readonly { revision: number; status: string }[]
  const pending = history.filter(({ status }) => status === 'pending-rollback').map(({ revision }) => revision)
  expect(pending).toHaveLength(1)
  shell(block(ROLLOUT, 'sh.helm.release').replace('<revision>', String(pending[0])))
  install('--set', 'serviceMonitor.interval=31s')

  shell('helm -n caracal rollback caracal 1 --timeout 120s')
  expect(interval()).toBe('30s')
  await until('the replicas are there', 60, everybodyReady)
})

test('[3-09] helm diff upgrade shows what helm upgrade then does, both as the page prints them', async () => {
  const [diff = '', upgrade = ''] = block(ROLLOUT, 'diff upgrade').split('\n')
  const plugin = inFolder('scratch/plugins/diff')
  mkdirSync(plugin, { recursive: true })
  writeFileSync(join(plugin, 'plugin.yaml'), `name: diff\nversion: 3.9.14\nusage: diff\ncommand: ${tool('helm-diff')}\n`)
  const difference = () => shell(`export HELM_PLUGINS=${inFolder('scratch/plugins')}; ${diff} --values ${SMALL_NODE}`, 'helm-3')
  // From the file of a managed cloud to the production overlay: nothing is exposed any more.
  expect(difference()).toMatch(/caracal-gateway, Ingress .* has been removed/)
  shell(`${upgrade} --values ${SMALL_NODE} --wait --timeout 300s`)
  expect(get('ingress', '-o', 'name')).toBe('')
  expect(difference()).toBe('')
  await until('the replicas are there', 120, everybodyReady)
})

const RESOURCE = 'https://restored.example/'
const DOCUMENTS = `
{ kind: Zone, name: restored }
---
{ kind: Application, zone: restored, name: agent, labels: [agents] }
---
kind: Resource
zone: restored
name: restored
identifier: ${RESOURCE}
upstream: http://${NODE_ADDRESS}:9901
egressAllow: [${NODE_ADDRESS}/32]
scopes: ["restored:read"]
---
kind: Policy
zone: restored
name: restored
rules:
  - { id: use, allow: ["restored:*"], on: ["${RESOURCE}"], for: { labels: [agents] } }
`

const addressOf = (component: string, port: number): string =>
  `http://${get('service', `caracal-${component}`, '-o', 'jsonpath={.spec.clusterIP}')}:${port}`

/** An application that may ask for a mandate; what its secret is checked against is sealed. */
function makeClient(): string {
  writeFileSync(inFolder('scratch/documents.yaml'), DOCUMENTS)
  const as = `export CARACAL_API_URL=${addressOf('api', 3000)} CARACAL_STS_URL=${addressOf('sts', 8080)} CARACAL_TOKEN=${secret().adminToken}`
  inScratch(`${as}; npx caracal apply -f documents.yaml`)
  const made = inScratch(`${as}; npx caracal --json credential create agent --zone restored`)
  const { client_id, client_secret } = JSON.parse(made) as Record<'client_id' | 'client_secret', string>
  return `${client_id}:${client_secret}`
}

/** A mandate for the client, by the key that signed it. */
function mint(client: string): { readonly kid: string } {
  const form = ['-d', 'grant_type=client_credentials', '--data-urlencode', `resource=${RESOURCE}`]
  const answer = run(['curl', '-fsS', '-u', client, ...form, `${addressOf('sts', 8080)}/oauth/2/token`])
  const { access_token } = JSON.parse(answer) as { access_token: string }
  return JSON.parse(Buffer.from(access_token.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }
}

test('[1-18] [1-06] a backup and the Secret’s copy, put back as the page says it, open what was sealed before', async () => {
  const client = makeClient()
  const minted = mint(client)

  expect(gate('G4')).toMatchObject({ state: 'stop' })
  const now = new Date().toISOString()
  inScratch(block(RESTORE, 'rollout plan').replaceAll(/<time-of-last-[a-z]+>/g, now))
  expect(gate('G4')).toMatchObject({ state: 'go' })

  inScratch(block(RESTORE, 'get secret caracal-runtime'))
  inScratch(block(RESTORE, 'pg_dump').replace('<database-url>', `'${DATABASE}'`))
  shell(block(RESTORE, '--replicas=0'))
  await until('nobody acts any more', 120, () => pods().every(({ component }) => !(component in REPLICAS)))

  kubectl('-n', NAMESPACE, 'delete', 'externalsecret', 'caracal-runtime', '--wait')
  await until('the Secret went with it', 60, () => !secretThere())
  freshDatabase('caracal')
  redis('FLUSHALL')

  inScratch(block(RESTORE, '--keep runtime-secret.json'))
  const restore = block(RESTORE, 'pg_restore')
    .split('\n')
    .filter((line) => line.startsWith('pg_restore'))
  inScratch(restore.join('\n').replace('<database-url>', `'${DATABASE}'`))
  withStores(MANAGED_POSTGRES, block(RESTORE, 'db status'))
  // The last two are looked at by themselves.
  shell(block(RESTORE, '--replicas=3').split('\n').slice(0, 2).join('\n'))
  await until('the replicas are there', 120, everybodyReady)

  const again = mint(client)
  expect(again.kid).toBe(minted.kid)
  canary()
})
