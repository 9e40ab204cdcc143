import type { IncomingMessage } from 'node:http'
import { ok, type Reason, type Resource, type Result, refuse } from '@caracal/core'
import {
  type Collected,
  collect,
  type EnforcementPoint,
  headersForUpstream,
  type Injected,
  injectCredential,
  LeakScan,
  type Lease,
  type Upstream,
} from '@caracal/enforcement-point'
import type { AllowedMessage } from './allowed-message.ts'
import { MAX_BODY_BYTES } from './message.ts'
import type { ServedServer } from './served-server.ts'

/** A place in the pool of a server, and what goes to it. */
export type Prepared = { readonly upstream: Upstream; readonly lease: Lease; readonly injected: Injected; readonly path: string }

/** Names that are said anew for the hop to the server, or that say of the caller what the server must not take for its own. */
const SAID_ANEW = new Set(['mcp-session-id', 'content-length', 'content-type', 'origin', 'accept-encoding'])

/** Everything that can still fail and has no effect: upstream, credential, a connection's place. */
export async function prepare(
  point: Pick<EnforcementPoint, 'credentials' | 'pools' | 'clock'>,
  server: ServedServer,
  request: Pick<IncomingMessage, 'rawHeaders'>,
  { facts }: { readonly facts: Pick<AllowedMessage['facts'], 'resource' | 'zone'> },
  session: string | null,
): Promise<Result<Prepared>> {
  const { resource, zone } = facts
  const upstream = server.upstream(resource)
  if (!upstream.ok) return upstream
  const { protocol, host, base } = upstream.value
  const path = base === '' ? '/' : base
  const headers = headersTo(server, request, session)
  const outgoing = { protocol, host, path, query: '', headers }
  const provider = resource.provider === null ? null : zone.providers.get(resource.provider)
  // A provider that is gone is no permission to go without one (P-077).
  if (provider === undefined) return refuse('credential_unavailable')
  const credential = provider === null ? ok({ secret: null }) : await point.credentials.get(provider, resource, host)
  if (!credential.ok) return credential
  const injected = injectCredential(outgoing, provider, credential.value.secret, point.clock())
  if (!injected.ok) return injected
  const lease = point.pools.lease(upstream.value)
  return lease.ok
    ? ok({ upstream: upstream.value, lease: lease.value, injected: injected.value, path: `${path}${injected.value.query}` })
    : lease
}

/** The caller's own credential is not among them: hygiene takes it away (P-091). */
function headersTo(server: ServedServer, { rawHeaders }: Pick<IncomingMessage, 'rawHeaders'>, session: string | null): string[] {
  const kept: string[] = []
  const clean = headersForUpstream(rawHeaders)
  for (let at = 0; at < clean.length; at += 2) {
    const name = clean[at] ?? ''
    if (!SAID_ANEW.has(name.toLowerCase())) kept.push(name, clean[at + 1] ?? '')
  }
  if (session !== null) kept.push('Mcp-Session-Id', session)
  kept.push(...server.headers)
  return kept
}

/** Names of a POST with a JSON body. */
export const JSON_BODY = ['Content-Type', 'application/json'] as const

/** Sends one message and takes the whole answer; an injected credential in it is `upstream_leaked_credential`. */
export async function sendAndCollect(
  { upstream, lease, injected, path }: Prepared,
  body: Buffer,
  options: {
    readonly timeoutMs: number
    readonly signal?: AbortSignal
    readonly onSent?: () => void
    readonly isComplete?: (body: Buffer, headers: Collected['headers']) => boolean
  },
): Promise<Result<Collected>> {
  const answer = await collect({
    lease,
    path,
    host: upstream.host,
    method: 'POST',
    headers: [...injected.headers, ...JSON_BODY],
    body,
    maxBytes: MAX_BODY_BYTES,
    ...options,
  })
  if (!answer.ok) return answer
  const scan = new LeakScan(injected.secrets)
  const headers = Object.values(answer.value.headers).flatMap((value) => value ?? [])
  return scan.inBytes(answer.value.body) || scan.inHeaders(headers) ? refuse('upstream_leaked_credential') : answer
}

/** What was revoked or went stale since the decision. */
export function stillStands(
  { calls: { view } }: Pick<EnforcementPoint, 'calls'>,
  { facts, unallowed }: Pick<AllowedMessage, 'facts' | 'unallowed'>,
): Reason | null {
  if (view.unfit() !== null) return 'revocation_view_stale'
  if (view.isRevoked(facts.cutBy) !== null) return 'token_revoked'
  return unallowed()
}

/** Silence of a server that is waited for, of one whose stream is open, and of its connections. Seconds. */
export function timeoutsOf({ timeouts }: Pick<Resource, 'timeouts'>, timeoutMs: number, isStream: boolean): Resource['timeouts'] {
  const silence = timeoutMs / 1000
  return {
    connect: timeouts.connect,
    firstByte: isStream ? Math.max(silence, timeouts.firstByte) : silence,
    idle: silence,
    stream: isStream ? timeouts.stream : silence,
  }
}
