/**
 * What a deployment must agree on with the processes it starts: arguments, ports, environment, keys of the runtime Secret, who calls
 * whom. The chart, the ExternalSecret files, the network policies and the tables of the documentation repeat it and are made from it.
 */

/** How long a component lives: `service` until it is replaced, `task` until its work is done. */
export type ComponentKind = 'service' | 'task'

export type ServiceComponent = 'api' | 'sts' | 'gateway' | 'audit' | 'coordinator' | 'mcp-adapter'
export type TaskComponent = 'migrate' | 'schema-check' | 'canary'
export type ComponentName = ServiceComponent | TaskComponent

/** Who may call a component from outside the chart; each is a list of peers in the values. */
export type OutsideCaller = 'clients' | 'ingressController'

/** Only mounted when this holds. */
export type MountCondition = 'redis-streams' | 'postgres-streams' | 'metrics-bearer' | 'database-from-secret' | 'database-by-host'

/** One key of the runtime Secret as one component has it. */
export type MountedKey = {
  readonly key: SecretKey
  /** The setting; its file is in `<setting>_FILE`. */
  readonly setting: string
  /** An absent key keeps the pod from starting, or switches something off. */
  readonly required: boolean
  readonly when?: MountCondition
}

export type Component = {
  readonly kind: ComponentKind
  readonly args: readonly string[]
  /** Routes and probes; undefined: nothing listens. */
  readonly port?: number
  /** Whether evidence waits on a volume of its own. */
  readonly spool: boolean
  /** Settings without secrets, in the order in which a manifest shows them. */
  readonly settings: readonly string[]
  readonly keys: readonly MountedKey[]
  readonly stores: readonly ('postgres' | 'redis')[]
  readonly calls: readonly ComponentName[]
  readonly calledFromOutside: readonly OutsideCaller[]
}

/** Of each component that listens for long: metrics and probes, and nothing else. */
export const METRICS_PORT = 9464
/** Where the canary's own upstream listens, for the Gateway to call. */
export const CANARY_UPSTREAM_PORT = 8090

export type RemoteProperty = { readonly remote: string; readonly property?: string }

/** A key of the runtime Secret and where a secret manager keeps it. */
export type SecretKeyDescription = {
  readonly meaning: string
  /** Absent in a secret manager, the whole Secret is not made. */
  readonly required: boolean
  /** `<key>Previous` is accepted beside it while it is replaced. */
  readonly rotates: boolean
  /** Remote names; a URL is composed of several. */
  readonly from: readonly RemoteProperty[]
}

const postgres = (property: string): RemoteProperty => ({ remote: 'caracal/postgres', property })
const redis = (property: string): RemoteProperty => ({ remote: 'caracal/redis', property })

export const SECRET_KEYS = {
  databaseUrl: {
    meaning: 'Where Postgres is and as whom services log in',
    required: true,
    rotates: false,
    from: ['username', 'password', 'host', 'port', 'database'].map(postgres),
  },
  postgresPassword: {
    meaning: 'Password of the login that migrates',
    required: true,
    rotates: false,
    from: [postgres('password')],
  },
  redisUrl: {
    meaning: 'Where Redis is and with which password',
    required: true,
    rotates: false,
    from: ['password', 'host', 'port', 'database'].map(redis),
  },
  zoneKek: {
    meaning: 'Seals keys of zones and credentials of providers; lost, what it sealed is lost',
    required: true,
    rotates: true,
    from: [{ remote: 'caracal/zone-kek' }],
  },
  auditHmacKey: {
    meaning: 'Authenticates evidence on its way to the ledger',
    required: true,
    rotates: true,
    from: [{ remote: 'caracal/audit-hmac-key' }],
  },
  streamsHmacKey: {
    meaning: 'Authenticates messages on the streams',
    required: true,
    rotates: true,
    from: [{ remote: 'caracal/streams-hmac-key' }],
  },
  gatewayStsHmacKey: {
    meaning: 'Signs internal calls to the STS and encrypts the secrets in them',
    required: true,
    rotates: true,
    from: [{ remote: 'caracal/gateway-sts-hmac-key' }],
  },
  adminToken: {
    meaning: 'Break-glass token of the API',
    required: true,
    rotates: true,
    from: [{ remote: 'caracal/admin-token' }],
  },
  coordinatorToken: {
    meaning: 'Lets operators manage sessions and delegations',
    required: true,
    rotates: true,
    from: [{ remote: 'caracal/coordinator-token' }],
  },
  stsAdminToken: {
    meaning: 'Allows the rotation of signing keys; absent, the route does not exist',
    required: false,
    rotates: true,
    from: [{ remote: 'caracal/sts-admin-token' }],
  },
  auditAdminToken: {
    meaning: 'Reads and exports evidence of every zone; absent, only stored tokens do',
    required: false,
    rotates: true,
    from: [{ remote: 'caracal/audit-admin-token' }],
  },
  metricsBearer: {
    meaning: 'Scrapes must carry it, when the chart says so',
    required: false,
    rotates: true,
    from: [{ remote: 'caracal/metrics-bearer' }],
  },
} as const satisfies Readonly<Record<string, SecretKeyDescription>>

export type SecretKey = keyof typeof SECRET_KEYS

const required = (key: SecretKey, setting: string, when?: MountCondition): MountedKey => ({
  key,
  setting,
  required: true,
  ...(when === undefined ? {} : { when }),
})
const optional = (key: SecretKey, setting: string): MountedKey => ({ key, setting, required: false })

const DATABASE = required('databaseUrl', 'DATABASE_URL')
const REDIS = required('redisUrl', 'REDIS_URL', 'redis-streams')
const METRICS = required('metricsBearer', 'METRICS_BEARER', 'metrics-bearer')
const STREAMS = [REDIS, required('auditHmacKey', 'AUDIT_HMAC_KEY'), required('streamsHmacKey', 'STREAMS_HMAC_KEY'), METRICS] as const

/** Who changes the schema logs in with the whole URL or by host and password, never both. */
const MIGRATION_LOGIN = [
  required('databaseUrl', 'DATABASE_URL', 'database-from-secret'),
  required('postgresPassword', 'DB_PASSWORD', 'database-by-host'),
] as const

/** What every service takes; `CA_BUNDLE` as a file. */
const COMMON = [
  'CARACAL_MODE',
  'HOST',
  'PORT',
  'METRICS_PORT',
  'LOG_LEVEL',
  'DRAIN_DELAY',
  'TRUSTED_PROXIES',
  'STREAMS_DRIVER',
  'CA_BUNDLE',
] as const

/** What every enforcement point takes beside it. */
const ENFORCEMENT = [
  'STS_URL',
  'SPOOL_DIR',
  'UPSTREAM_HOST_ALLOWLIST',
  'BUDGET_REQUIRED',
  'PROVISIONAL_CHARGE_SLICE',
  'PROVISIONAL_CHARGE_SLICE_TTL',
] as const

/** Postgres only where it carries the streams. */
const ENFORCEMENT_KEYS = [
  required('databaseUrl', 'DATABASE_URL', 'postgres-streams'),
  ...STREAMS,
  required('gatewayStsHmacKey', 'GATEWAY_STS_HMAC_KEY'),
] as const

/** How charges to budgets are kept. */
const CHARGES = [
  'PROVISIONAL_CHARGE_EXPIRATION',
  'PROVISIONAL_CHARGE_MAX',
  'PROVISIONAL_CHARGE_SWEEP_INTERVAL',
  'PROVISIONAL_CHARGE_SWEEP_BATCH',
  'USAGE_RETENTION',
] as const

export const COMPONENTS: Readonly<Record<ComponentName, Component>> = {
  api: {
    kind: 'service',
    args: ['serve', 'api'],
    port: 3000,
    spool: false,
    settings: [...COMMON, 'DATABASE_POOL', 'STS_URL'],
    keys: [DATABASE, ...STREAMS, required('gatewayStsHmacKey', 'GATEWAY_STS_HMAC_KEY'), required('adminToken', 'ADMIN_TOKEN')],
    stores: ['postgres', 'redis'],
    calls: ['sts'],
    calledFromOutside: ['ingressController', 'clients'],
  },
  sts: {
    kind: 'service',
    args: ['serve', 'sts'],
    port: 8080,
    spool: true,
    settings: [...COMMON, 'DATABASE_POOL', 'ISSUER_URL', 'ISSUER_ALIASES', 'SPOOL_DIR', ...CHARGES],
    keys: [
      DATABASE,
      ...STREAMS,
      required('zoneKek', 'ZONE_KEK'),
      required('gatewayStsHmacKey', 'GATEWAY_STS_HMAC_KEY'),
      optional('stsAdminToken', 'STS_ADMIN_TOKEN'),
    ],
    stores: ['postgres', 'redis'],
    calls: [],
    calledFromOutside: ['ingressController', 'clients'],
  },
  gateway: {
    kind: 'service',
    args: ['serve', 'gateway'],
    port: 8081,
    spool: true,
    settings: [...COMMON, ...ENFORCEMENT, 'GATEWAY_BASE_DOMAIN'],
    keys: ENFORCEMENT_KEYS,
    stores: ['redis'],
    calls: ['sts', 'canary'],
    calledFromOutside: ['ingressController', 'clients'],
  },
  audit: {
    kind: 'service',
    args: ['serve', 'audit'],
    port: 9090,
    spool: false,
    settings: [...COMMON, 'DATABASE_POOL', 'ISSUER_URL', 'AUDIT_ANCHORS'],
    keys: [DATABASE, ...STREAMS, required('zoneKek', 'ZONE_KEK'), optional('auditAdminToken', 'AUDIT_ADMIN_TOKEN')],
    stores: ['postgres', 'redis'],
    calls: [],
    calledFromOutside: [],
  },
  coordinator: {
    kind: 'service',
    args: ['serve', 'coordinator'],
    port: 4000,
    spool: false,
    settings: [...COMMON, 'DATABASE_POOL', 'ISSUER_URL', 'ISSUER_ALIASES'],
    keys: [DATABASE, ...STREAMS, required('coordinatorToken', 'COORDINATOR_TOKEN')],
    stores: ['postgres', 'redis'],
    calls: [],
    calledFromOutside: ['clients'],
  },
  'mcp-adapter': {
    kind: 'service',
    args: ['serve', 'mcp-adapter'],
    port: 8080,
    spool: true,
    settings: [...COMMON, ...ENFORCEMENT, 'MCP_SERVERS', 'MCP_SERVER_TIMEOUT', 'MCP_PUBLIC_URL', 'MCP_ALLOWED_ORIGINS'],
    keys: ENFORCEMENT_KEYS,
    stores: ['redis'],
    calls: ['sts'],
    calledFromOutside: ['ingressController', 'clients'],
  },
  migrate: {
    kind: 'task',
    args: ['db', 'migrate', 'up'],
    spool: false,
    settings: ['CARACAL_MODE', 'STREAMS_DRIVER', 'CA_BUNDLE'],
    keys: [...MIGRATION_LOGIN, REDIS],
    stores: ['postgres', 'redis'],
    calls: [],
    calledFromOutside: [],
  },
  'schema-check': {
    kind: 'task',
    args: ['db', 'status'],
    spool: false,
    settings: ['CARACAL_MODE', 'CA_BUNDLE'],
    keys: MIGRATION_LOGIN,
    stores: ['postgres'],
    calls: [],
    calledFromOutside: [],
  },
  canary: {
    kind: 'task',
    args: ['canary'],
    port: CANARY_UPSTREAM_PORT,
    spool: false,
    settings: ['CARACAL_API_URL', 'CARACAL_STS_URL', 'CARACAL_GATEWAY_URL', 'CARACAL_AUDIT_URL', 'CARACAL_COORDINATOR_URL'],
    keys: [required('adminToken', 'CARACAL_TOKEN')],
    stores: [],
    calls: ['api', 'sts', 'gateway', 'audit'],
    calledFromOutside: [],
  },
}

/** In the order in which a manifest has them. */
export const COMPONENT_NAMES = Object.keys(COMPONENTS) as readonly ComponentName[]

export const SERVICE_NAMES = COMPONENT_NAMES.filter((name): name is ServiceComponent => COMPONENTS[name].kind === 'service')

/** Services that are only there when they are asked for. */
export const OPTIONAL_SERVICES: readonly ServiceComponent[] = ['mcp-adapter']

/** Which components call this one on its port. */
export function callersOf(name: ComponentName): readonly ComponentName[] {
  return COMPONENT_NAMES.filter((caller) => COMPONENTS[caller].calls.includes(name))
}

/** Path prefixes that may be reached from outside: what an Ingress lets through, and nothing else. */
export const PUBLIC_PATHS: Readonly<Record<'api' | 'sts' | 'gateway' | 'mcp-adapter', readonly string[]>> = {
  api: ['/v1', '/health', '/ready'],
  sts: ['/oauth/2', '/zones', '/.well-known', '/health', '/ready'],
  gateway: ['/'],
  'mcp-adapter': ['/mcp', '/.well-known', '/health', '/ready'],
}
