import { createServer } from 'node:http'
import { setInterval as every } from 'node:timers/promises'
import { Agent, request } from 'undici'

/** Where the load goes and how much of it there is. */
export type Plan = {
  readonly sts: string
  readonly gateway: string
  /** Authorization header of the application. */
  readonly basic: string
  readonly resource: string
  readonly perSecond: number
  readonly upstream: { readonly host: string; readonly port: number }
}

/** What became of the calls. `seen` are the paths that reached the upstream, whatever the caller was told. */
export type Outcome = {
  readonly calls: number
  readonly answered: number
  readonly failures: readonly string[]
  readonly seen: readonly string[]
  /** Longest that an answered call took. Milliseconds. */
  readonly slowest: number
}

/** A caller's patience. Milliseconds. */
const PATIENCE_MS = 20_000
/** A mandate serves this many calls. */
const CALLS_PER_MANDATE = 500

/*
 * A program of its own in the cluster's network: an upstream, and governed calls to it at a steady rate, whether or not those before
 * were answered, until standard input ends. Then it prints the outcome as JSON. Nothing is tried twice.
 */
const plan = JSON.parse(process.env.LOAD ?? '') as Plan
const seen: string[] = []
const upstream = createServer((incoming, answer) => {
  seen.push(incoming.url ?? '')
  answer.setHeader('content-type', 'application/json')
  answer.end('{}')
})
await new Promise<void>((resolve) => upstream.listen(plan.upstream.port, plan.upstream.host, resolve))

// A connection that was idle for a second is not used again, whatever the server allows: replicas drain for longer than that.
const agent = new Agent({ connections: 64, keepAliveTimeout: 1_000, keepAliveMaxTimeout: 1_000 })
const failures: string[] = []
const began = Date.now()
let [calls, answered, slowest] = [0, 0, 0]

async function mint(): Promise<string> {
  const { statusCode, body } = await request(`${plan.sts}/oauth/2/token`, {
    method: 'POST',
    dispatcher: agent,
    headersTimeout: PATIENCE_MS,
    headers: { authorization: plan.basic, 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource: plan.resource }).toString(),
  })
  const text = await body.text()
  if (statusCode !== 200) throw new Error(`mint ${statusCode} ${text}`)
  return (JSON.parse(text) as { access_token: string }).access_token
}

async function call(path: string, token: string): Promise<void> {
  const sent = performance.now()
  const { statusCode, body } = await request(`${plan.gateway}/r/load${path}`, {
    dispatcher: agent,
    headersTimeout: PATIENCE_MS,
    headers: { authorization: `Bearer ${token}` },
  })
  const text = await body.text()
  if (statusCode !== 200) throw new Error(`call ${statusCode} ${text}`)
  answered++
  slowest = Math.max(slowest, performance.now() - sent)
}

const fail = (error: unknown) => {
  const text = error instanceof Error ? `${error.name} ${error.message} ${error.cause ?? ''}` : String(error)
  failures.push(`${((Date.now() - began) / 1000).toFixed(1)} s: ${text.slice(0, 300)}`)
}

const stopping = new AbortController()
process.stdin.on('end', () => stopping.abort()).resume()
let token = await mint()
process.stderr.write('running\n')
const open = new Set<Promise<void>>()
const watch = (work: Promise<void>) => {
  const one = work.catch(fail).finally(() => open.delete(one))
  open.add(one)
}
try {
  for await (const _ of every(1000 / plan.perSecond, undefined, { signal: stopping.signal })) {
    watch(call(`/items/${++calls}-${began}`, token))
    if (calls % CALLS_PER_MANDATE !== 0) continue
    const renew = async () => {
      token = await mint()
    }
    watch(renew())
  }
} catch (error) {
  if (!stopping.signal.aborted) throw error
}
await Promise.all(open)
process.stdout.write(JSON.stringify({ calls, answered, failures, seen, slowest: Math.round(slowest) } satisfies Outcome))
upstream.close()
upstream.closeAllConnections()
await agent.close()
