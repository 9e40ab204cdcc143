import { ok, type Resource, type Result, refuse, type ZoneId } from '@caracal/core'
import type { EgressGuard } from '@caracal/service'
import { type Cidr, parseCidr } from '@caracal/service'
import { type Dispatcher, Pool } from 'undici'
import { CircuitBreaker } from './circuit-breaker.ts'

/** Where a Resource's calls go, read once from its configuration. */
export type Upstream = {
  readonly zone: ZoneId
  readonly protocol: string
  /** `https://host:port`. */
  readonly origin: string
  /** Host with its port when it is not the default one: the Host header. */
  readonly host: string
  /** Path of the base without a slash at its end. */
  readonly base: string
  readonly allow: readonly Cidr[]
  readonly connectMs: number
  /** Connections are shared by what may reach the same addresses in the same way. */
  readonly key: string
}

/** Configuration is replaced, never changed: what was read once holds as long as the object lives. */
const known = new WeakMap<Resource, Result<Upstream, 'upstream_not_allowed'>>()

/** The upstream of a Resource; one that is not a plain http(s) URL is `upstream_not_allowed`. What is no CIDR allows nothing. */
export function upstreamOf(resource: Resource): Result<Upstream, 'upstream_not_allowed'> {
  const before = known.get(resource)
  if (before !== undefined) return before
  const upstream = readUpstream(resource)
  known.set(resource, upstream)
  return upstream
}

function readUpstream(resource: Resource): Result<Upstream, 'upstream_not_allowed'> {
  const url = URL.canParse(resource.upstream) ? new URL(resource.upstream) : null
  const plain = url !== null && (url.protocol === 'https:' || url.protocol === 'http:') && url.username === '' && url.password === ''
  if (!plain || url.search !== '' || url.hash !== '') return refuse('upstream_not_allowed', 'the upstream is not a plain http or https URL')
  const connectMs = resource.timeouts.connect * 1000
  return ok({
    zone: resource.zone,
    protocol: url.protocol,
    origin: url.origin,
    host: url.host,
    base: url.pathname.replace(/\/+$/, ''),
    allow: resource.egressAllow.map(parseCidr).filter((cidr) => cidr !== null),
    connectMs,
    key: [resource.zone, url.origin, connectMs, ...[...resource.egressAllow].sort()].join(' '),
  })
}

/** A place in the pool of one upstream. `release` gives it back, once. */
export type Lease = {
  readonly breaker: CircuitBreaker
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void
  release(): void
}

export type PoolOptions = {
  readonly guard: EgressGuard
  /** Connections to one upstream of one zone; 1 024. Event streams take one each. */
  readonly connections?: number
  /** Calls that may wait for one of them; 512. */
  readonly waiting?: number
  /** How long an unused pool stays. Milliseconds; 60 000. */
  readonly idleMs?: number
  readonly monotonic?: () => number
}

type Entry = { readonly pool: Pool; readonly breaker: CircuitBreaker; inUse: number; usedAt: number }

/** Connections to upstreams: one pool and one breaker for each upstream and zone, so that a bad one stops no other (P-073). */
export class UpstreamPools {
  readonly #guard: EgressGuard
  readonly #connections: number
  readonly #most: number
  readonly #idleMs: number
  readonly #monotonic: () => number
  readonly #entries = new Map<string, Entry>()
  readonly #sweeper: NodeJS.Timeout

  constructor(options: PoolOptions) {
    this.#guard = options.guard
    this.#connections = options.connections ?? 1_024
    this.#most = this.#connections + (options.waiting ?? 512)
    this.#idleMs = options.idleMs ?? 60_000
    this.#monotonic = options.monotonic ?? (() => performance.now())
    this.#sweeper = setInterval(() => this.sweep(), Math.max(1_000, this.#idleMs / 4))
    this.#sweeper.unref()
  }

  /** `upstream_unreachable` while the breaker is open, `overloaded` when too many calls wait. */
  lease(upstream: Upstream): Result<Lease, 'upstream_unreachable' | 'overloaded'> {
    const entry = this.#entries.get(upstream.key) ?? this.#open(upstream)
    if (entry.inUse >= this.#most) return refuse('overloaded', 'too many calls wait for this upstream')
    if (!entry.breaker.admit()) return refuse('upstream_unreachable', 'the upstream failed several times in a row', { retry_after: 1 })
    entry.inUse++
    entry.usedAt = this.#monotonic()
    let held = true
    return ok({
      breaker: entry.breaker,
      dispatch: (options, handler) => {
        entry.pool.dispatch(options, handler)
      },
      release: () => {
        if (!held) return
        held = false
        entry.inUse--
        entry.usedAt = this.#monotonic()
      },
    })
  }

  /** Upstreams with a pool at the moment. */
  size(): number {
    return this.#entries.size
  }

  /** Closes what nobody used for a while. */
  sweep(): void {
    const before = this.#monotonic() - this.#idleMs
    for (const [key, entry] of this.#entries) {
      if (entry.inUse > 0 || entry.usedAt > before) continue
      this.#entries.delete(key)
      entry.pool.destroy().catch(() => {})
    }
  }

  /** Ends every connection, running calls included. */
  async close(): Promise<void> {
    clearInterval(this.#sweeper)
    const entries = [...this.#entries.values()]
    this.#entries.clear()
    await Promise.all(entries.map((entry) => entry.pool.destroy()))
  }

  #open(upstream: Upstream): Entry {
    const pool = new Pool(upstream.origin, {
      connections: this.#connections,
      pipelining: 1,
      connect: this.#guard.connector({ allow: upstream.allow, connectMs: upstream.connectMs }),
      allowH2: false,
      keepAliveTimeout: 15_000,
      maxHeaderSize: 32 * 1024,
      // The idle time of a body depends on its content type, which is known only then: the exchange watches it itself.
      bodyTimeout: 0,
    })
    const entry = { pool, breaker: new CircuitBreaker(this.#monotonic), inUse: 0, usedAt: this.#monotonic() }
    this.#entries.set(upstream.key, entry)
    return entry
  }
}
