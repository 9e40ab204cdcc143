import { AsyncLocalStorage } from 'node:async_hooks'
import type { Resource } from '@caracal/core'
import { type Refusal, refuse } from '@caracal/core'
import type { PassageFacts } from '@caracal/enforcement'
import type { EnforcementPoint } from '@caracal/enforcement-point'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { prepare, sendAndCollect } from './send-upstream.ts'
import type { ServedServer } from './served-server.ts'

/** Why nothing came from a server; the client of the SDK hands it through. */
export class ServerRefused extends Error {
  override readonly name = 'ServerRefused'
  readonly refusal: Refusal
  /** Whether the server may have heard of it. */
  readonly wentOut: boolean

  constructor(refusal: Refusal, wentOut: boolean) {
    super(refusal.reason)
    this.refusal = refusal
    this.wentOut = wentOut
  }
}

/** On whose behalf a server is asked. */
export type Behalf = Pick<PassageFacts, 'resource' | 'zone' | 'mandate' | 'cutBy'>

/** The last answer that a server gave while something was asked. Undefined: there was none. */
export type LastAnswer = { answer?: { readonly status: number; readonly headers: Readonly<Record<string, string | string[] | undefined>> } }

/** The client of the SDK hands out results alone: what else of an answer counts is found by who waits for it. */
const asking = new AsyncLocalStorage<LastAnswer>()

type Held = { readonly client: Promise<Client>; behalf: Behalf; usedAt: number }

/** Clients kept at once, and how long an unused one stays. Milliseconds. */
const MOST = 500
const IDLE_MS = 60_000

/**
 * Clients for callers that do not speak MCP themselves: one for each caller at each server, because a session at the server is theirs alone.
 * Each request of a client goes through the guard and the pools, with the provider's credential as it is then.
 */
export class ServerClients {
  readonly #point: EnforcementPoint
  readonly #timeoutMs: number
  readonly #held = new Map<string, Held>()
  readonly #sweeper: NodeJS.Timeout

  constructor(point: EnforcementPoint, timeoutMs: number) {
    this.#point = point
    this.#timeoutMs = timeoutMs
    this.#sweeper = setInterval(() => this.#sweep(), IDLE_MS / 4)
    this.#sweeper.unref()
  }

  /** A connected client, in the revision that the server speaks. Rejects with `ServerRefused` or an error of the SDK. */
  async get(server: ServedServer, behalf: Behalf): Promise<Client> {
    const { zone, client_id, sub } = behalf.mandate.claims
    const key = [server.name, zone, client_id, sub, versionOf(behalf.resource)].join(' ')
    const before = this.#held.get(key)
    const held: Held = before ?? { client: this.#connect(server, () => held.behalf), behalf, usedAt: 0 }
    held.behalf = behalf
    held.usedAt = performance.now()
    this.#held.delete(key)
    this.#held.set(key, held)
    for (const [oldest, one] of this.#held) {
      if (this.#held.size <= MOST) break
      this.#end(oldest, one)
    }
    return held.client.catch((error: unknown) => {
      this.#held.delete(key)
      throw error
    })
  }

  /** Whatever `ask` asks of clients, with what the server's last answer to it was. */
  noting<T>(last: LastAnswer, ask: () => Promise<T>): Promise<T> {
    return asking.run(last, ask)
  }

  /** Forgets a client that the server does not know any more. */
  forget(client: Client): void {
    for (const [key, held] of this.#held) void held.client.then((one) => one === client && this.#end(key, held)).catch(() => {})
  }

  close(): void {
    clearInterval(this.#sweeper)
    for (const [key, held] of this.#held) this.#end(key, held)
  }

  #sweep(): void {
    for (const [key, held] of this.#held) if (performance.now() - held.usedAt > IDLE_MS) this.#end(key, held)
  }

  #end(key: string, { client }: Held): void {
    this.#held.delete(key)
    client.then((one) => one.close()).catch(() => {})
  }

  async #connect(server: ServedServer, behalf: () => Behalf): Promise<Client> {
    const client = new Client({ name: 'caracal-mcp-adapter', version: this.#point.version }, { versionNegotiation: { mode: 'auto' } })
    const transport = new StreamableHTTPClientTransport(new URL(`http://${server.name}.invalid/mcp`), {
      fetch: (_url, init) => this.#send(server, behalf(), init),
    })
    await client.connect(transport, { timeout: this.#timeoutMs })
    return client
  }

  async #send(server: ServedServer, facts: Behalf, init: RequestInit | undefined): Promise<Response> {
    // Nobody waits for what a server says by itself, and its sessions end with their time.
    if (init?.method !== 'POST') return new Response(null, { status: 405 })
    const headers = new Headers(init.headers)
    const session = headers.get('mcp-session-id')
    const prepared = await prepare(this.#point, server, { rawHeaders: [...headers].flat() }, { facts }, session)
    if (!prepared.ok) throw new ServerRefused(prepared, false)
    let wentOut = false
    const answer = await sendAndCollect(prepared.value, Buffer.from(String(init.body)), {
      onSent: () => {
        wentOut = true
      },
      timeoutMs: this.#timeoutMs,
      ...(init.signal === null || init.signal === undefined ? {} : { signal: init.signal }),
    })
    if (!answer.ok) throw new ServerRefused(answer.reason === 'client_gone' ? refuse('upstream_timeout') : answer, wentOut)
    const { status, body } = answer.value
    const last = asking.getStore()
    if (last !== undefined) last.answer = answer.value
    const kept = new Headers()
    for (const name of ['content-type', 'mcp-session-id']) {
      const value = answer.value.headers[name]
      if (typeof value === 'string') kept.set(name, value)
    }
    return new Response(status === 204 || status === 202 || status === 304 ? null : new Uint8Array(body), { status, headers: kept })
  }
}

/** Another version may name another server or credential: its sessions are not those of the one before. */
function versionOf({ id, version, provider }: Resource): string {
  return `${id} ${version} ${provider ?? ''}`
}
