import { join } from 'node:path'
import type { Environment } from '@caracal/service'
import type { Role } from '../roles.ts'
import { type CompactConfiguration, parseListen } from './compact-settings.ts'
import { internalKey } from './kek.ts'

/** Roles that stand at the edge; every other one listens on loopback only. */
export const EDGE_ROLES = ['gateway', 'mcp-adapter'] as const

/** What roles in this process take from it instead of from their environment. */
export type CompactKeys = Readonly<Record<'ZONE_KEK' | 'AUDIT_HMAC_KEY' | 'STREAMS_HMAC_KEY' | 'GATEWAY_STS_HMAC_KEY', string>>

const INTERNAL_KEYS = ['AUDIT_HMAC_KEY', 'STREAMS_HMAC_KEY', 'GATEWAY_STS_HMAC_KEY'] as const
/** What the process itself takes: no role gets to see it. */
const TAKEN = /^(?:ZONE_KEK|DB_|DATABASE_URL)/

/** The keys as every process of the installation has them. */
export function keysOf(kek: Uint8Array): CompactKeys {
  return {
    ZONE_KEK: Buffer.from(kek).toString('hex'),
    AUDIT_HMAC_KEY: internalKey(kek, 'AUDIT_HMAC_KEY'),
    STREAMS_HMAC_KEY: internalKey(kek, 'STREAMS_HMAC_KEY'),
    GATEWAY_STS_HMAC_KEY: internalKey(kek, 'GATEWAY_STS_HMAC_KEY'),
  }
}

/** What a role beside another one would have in its environment, were it a process of its own. `sts`: where the STS answers. */
export function environmentOf(
  role: Role,
  parts: { readonly environment: Environment; readonly config: CompactConfiguration; readonly keys: CompactKeys; readonly sts: string },
): Environment {
  const { environment, config, keys, sts } = parts
  const derived = INTERNAL_KEYS.filter((name) => config[name] === undefined).map((name) => [name, keys[name]])
  const rest = Object.fromEntries(Object.entries(environment).filter(([name]) => !TAKEN.test(name)))
  return {
    ...rest,
    ...Object.fromEntries(derived),
    ZONE_KEK: keys.ZONE_KEK,
    STREAMS_DRIVER: 'postgres',
    ISSUER_URL: config.ISSUER_URL,
    // Each keeps its own, where evidence waits on a volume at all.
    SPOOL_DIR: join(environment.SPOOL_DIR || './spool', role),
    STS_URL: sts,
    ...listenersOf(role, config),
  }
}

function listenersOf(role: Role, config: CompactConfiguration): Environment {
  if (isEdge(role)) {
    const { host, port } = parseListen(role === 'gateway' ? config.GATEWAY_LISTEN : config.MCP_LISTEN)
    return { HOST: host, PORT: port, METRICS_PORT: String(config.METRICS_PORT) }
  }
  const ports: Readonly<Partial<Record<Role, number>>> = {
    api: config.API_PORT,
    sts: config.STS_PORT,
    audit: config.AUDIT_PORT,
    coordinator: config.COORDINATOR_PORT,
  }
  // Their metrics stand with those of the role at the edge; nobody else asks for them. What drains them is its stop.
  return {
    HOST: '127.0.0.1',
    PORT: String(ports[role] ?? 0),
    METRICS_PORT: '0',
    METRICS_BEARER: undefined,
    METRICS_BEARER_FILE: undefined,
    DRAIN_DELAY: '0s',
  }
}

export function isEdge(role: string): role is (typeof EDGE_ROLES)[number] {
  return EDGE_ROLES.some((one) => one === role)
}
