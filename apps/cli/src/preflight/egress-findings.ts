import { connect } from 'node:net'
import { faultClass } from './fault-class.ts'
import { type Finding, fails, holds } from './finding.ts'

export type Endpoint = { readonly host: string; readonly port: number }

const LIMIT_MS = 5_000
/** Settings whose value is a URL that a role calls. */
const CALLED = ['STS_URL', 'COORDINATOR_URL', 'OTEL_EXPORTER_OTLP_ENDPOINT', 'AUDIT_EXPORT_ENDPOINT', 'OIDC_ISSUER'] as const

/** What is called from here by the environment, and what is named beside: `host`, `host:port` or a URL; without a port it is 443. */
export function egressEndpoints(env: NodeJS.ProcessEnv, named: readonly string[]): readonly Endpoint[] {
  const urls = CALLED.flatMap((name) => env[name] || [])
  const listed = (name: string) => (env[name] ?? '').split(',').map((one) => one.trim())
  const allowed = listed('UPSTREAM_HOST_ALLOWLIST').filter((one) => one !== '' && !one.startsWith('.'))
  // `name=url`; a program that is spoken to over its pipes is called nowhere.
  const servers = listed('MCP_SERVERS').map((one) => one.slice(one.indexOf('=') + 1))
  const found = [...urls, ...allowed, ...servers.filter((one) => /^https?:/i.test(one)), ...named].flatMap((text) => endpointOf(text) ?? [])
  return [...new Map(found.map((one) => [`${one.host}:${one.port}`, one])).values()]
}

/** Undefined for what names no host. */
export function endpointOf(text: string): Endpoint | undefined {
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `tcp://${text}`)
  if (url === null || url.hostname === '') return undefined
  const port = Number(url.port) || (url.protocol === 'http:' ? 80 : 443)
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port }
}

/** Whether a connection to each endpoint can be made from here. */
export function egressFindings(endpoints: readonly Endpoint[]): Promise<Finding[]> {
  return Promise.all(endpoints.map(dial))
}

function dial({ host, port }: Endpoint): Promise<Finding> {
  const facts = { host, port }
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: LIMIT_MS })
    const end = (finding: Finding) => {
      socket.destroy()
      resolve(finding)
    }
    socket.once('connect', () => end(holds('egress', `${host}:${port} can be reached`, facts)))
    socket.once('timeout', () => end(fails('egress', 'refused', `${host}:${port} does not answer`, ALLOW, facts)))
    socket.once('error', (error) => end(fails('egress', faultClass(error), `${host}:${port}: ${error.message || 'refused'}`, ALLOW, facts)))
  })
}

const ALLOW = 'Allow it in networkPolicy.extraEgress (and networkPolicy.dnsEgress for its name).'
