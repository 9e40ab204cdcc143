import { existsSync } from 'node:fs'
import { type ConfigurationProblem, defineConfiguration, type Environment, placeholder, setting, type Values } from '@caracal/service'

/** A port of a role that only this machine reaches. */
const loopback = (role: string, port: number) =>
  setting.port({ meaning: `Port of ${role} on loopback, where it runs beside another role; 0 is any free one.`, default: port })

/** What is written as one address: `0.0.0.0:8443`, `[::]:8443`. */
const listen = (role: string, port: number) =>
  setting.string({
    meaning: `Address and port of ${role}.`,
    default: `0.0.0.0:${port}`,
    // 0 to 65535.
    pattern: /^(?:\[[0-9a-fA-F:]+\]|[\w.-]+):(?:\d{1,4}|[1-5]\d{4}|6(?:[0-4]\d{3}|5(?:[0-4]\d\d|5(?:[0-2]\d|3[0-5]))))$/,
    rule: `must be an address and a port: 0.0.0.0:${port}`,
  })

const settings = {
  LOG_LEVEL: setting.oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    meaning: 'Least level that is logged.',
    default: 'info',
  }),
  STREAMS_DRIVER: setting.oneOf(['postgres'], { meaning: 'What carries the streams: there is only Postgres here.', default: 'postgres' }),
  DB_HOST: setting.string({ meaning: 'Where Postgres is.' }),
  DB_PORT: setting.integer({ meaning: 'Its port.', min: 1, max: 65_535, default: 5_432 }),
  DB_NAME: setting.string({ meaning: 'Its database.', default: 'caracal' }),
  DB_USER: setting.string({ meaning: 'Who logs in.', default: 'caracal' }),
  DB_PASSWORD: setting.string({ meaning: 'With which password.', secret: true }),
  DB_SSLMODE: setting.oneOf(['disable', 'require', 'verify-full'], {
    meaning: 'Whether the connection is encrypted and the server proven; `disable` only for a host in the same namespace.',
    default: 'disable',
  }),
  DB_POOL_MAX: setting.integer({ meaning: 'Most connections of this process to Postgres.', min: 4, max: 200, default: 10 }),
  DB_POOL_TIMEOUT: setting.duration({ meaning: 'How long a statement waits for a connection.', min: 100, max: 60_000, default: 10_000 }),
  ZONE_KEK: setting.key({
    meaning: 'Seals what is secret in the database; absent, DB_PASSWORD holds the key.',
    optional: true,
    seals: true,
  }),
  AUDIT_HMAC_KEY: setting.key({ meaning: 'Authenticates evidence on its way to the ledger; absent, it is derived.', optional: true }),
  STREAMS_HMAC_KEY: setting.key({ meaning: 'Authenticates messages on the streams; absent, it is derived.', optional: true }),
  GATEWAY_STS_HMAC_KEY: setting.key({ meaning: 'Signs calls between roles; absent, it is derived.', optional: true }),
  GATEWAY_LISTEN: listen('the Gateway', 8_443),
  MCP_LISTEN: listen('the MCP Adapter', 8_080),
  METRICS_PORT: setting.port({ meaning: 'Port of metrics and probes.', default: 9_090 }),
  API_PORT: loopback('the API', 3_000),
  STS_PORT: loopback('the STS', 3_001),
  AUDIT_PORT: loopback('Audit', 3_002),
  COORDINATOR_PORT: loopback('the Coordinator', 3_003),
  ISSUER_URL: setting.url({
    meaning: 'What mandates and logs of this installation name as their issuer; pinned in the database at first use.',
    default: 'https://caracal-gateway.caracal.svc',
  }),
}

/** A password that seals must be one that nobody guesses from a dump. */
const LEAST_PASSWORD = 16

/** The environment of several roles in one process on one Postgres, beside what the roles themselves take. */
export const compactConfiguration = defineConfiguration(settings, (values) => {
  const problems: ConfigurationProblem[] = []
  const { CARACAL_MODE: mode, DB_PASSWORD: password, DB_HOST: host } = values
  if (mode === 'dev') return problems
  if (placeholder(password))
    problems.push({ name: 'DB_PASSWORD', rule: 'is a placeholder: put a real one there (openssl rand -base64 32)' })
  else if (values.ZONE_KEK === undefined && password.length < LEAST_PASSWORD)
    problems.push({
      name: 'DB_PASSWORD',
      rule: `holds the key of this installation: it must have at least ${LEAST_PASSWORD} characters, or set ZONE_KEK`,
    })
  if (values.DB_SSLMODE === 'disable' && host.includes('.'))
    problems.push({ name: 'DB_SSLMODE', rule: 'may be disable only for a host that is one word: the Service in this namespace' })
  return problems
})

export type CompactConfiguration = Values<typeof settings>

/** Files of the Secret that may be left out of it: then nothing is set. */
const LEFT_OUT = ['ZONE_KEK_FILE', 'METRICS_BEARER_FILE', 'ADMIN_TOKEN_FILE'] as const

/** The environment without files that the Secret does not have. */
export function withoutAbsentFiles(environment: Environment): Environment {
  const absent = LEFT_OUT.filter((name) => environment[name] !== undefined && !existsSync(environment[name] ?? ''))
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !absent.some((one) => one === name)))
}

/** `0.0.0.0:8443` as host and port. */
export function parseListen(text: string): { readonly host: string; readonly port: string } {
  const at = text.lastIndexOf(':')
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: text.slice(at + 1) }
}
