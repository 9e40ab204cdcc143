import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { RESOURCE, type Stage } from './stage.ts'

/** What a client saw of one attempt: the status and the code of a refusal, or that the connection broke (status 0). */
export type Attempt = {
  readonly what: 'mint' | 'call' | 'session' | 'revocation'
  /** When it began and ended; milliseconds of `performance.now()`. */
  readonly began: number
  readonly ended: number
  readonly status: number
  readonly code: string
}

/** A mandate that was revoked: when the revocation was answered, and the calls with it that were begun after that. */
export type Revoked = { readonly mandate: string; readonly at: number; readonly after: { readonly began: number; readonly code: string }[] }

/** What the clients were told, by the ids that evidence carries. */
export type Told = {
  readonly mandates: string[]
  /** Paths of calls that were answered by the upstream. */
  readonly calls: string[]
  readonly sessions: string[]
  readonly revoked: Revoked[]
  /** When a client lost patience with a mint or a call that it had tried again and again. */
  readonly gaveUp: number[]
}

export type Held = { readonly id: string; readonly token: string }

export type Load = {
  readonly attempts: readonly Attempt[]
  readonly told: Told
  /** Resolves with the milliseconds until a call that began after `since` was answered by the upstream. */
  firstGoodCall(since: number, timeoutMs?: number): Promise<number>
  /** How often each outcome was seen: `call 200`, `mint revocation_view_stale`, `call broken`. */
  tally(since?: number): Record<string, number>
  /** A mandate that served in a call, for later. */
  hold(): Promise<Held>
  /** Revokes a mandate that is held; its calls are tried from then on. Resolves with the status of the API's answer. */
  revoke(held: Held): Promise<number>
  /** Calls once; resolves with `allowed`, the code of the refusal, or `broken`. */
  call(held: Held): Promise<string>
  /** Lets every client finish what it does. */
  stop(): Promise<void>
}

export type LoadOptions = {
  /** Clients that mint and call in a closed loop; 4 unless said otherwise. */
  readonly clients?: number
  /** Pause of each client between calls; milliseconds, 10 unless said otherwise. */
  readonly pause?: number
  /** Also one client that starts and ends sessions, and one that revokes mandates and tries them again. */
  readonly administration?: boolean
}

type Answer = { readonly status: number; readonly body: Record<string, unknown> }

const PATIENCE_MS = 20_000
/** Tries of one piece of work, over some four seconds. */
const TRIES = 12
/** After a revocation was answered its mandate is tried this much later, milliseconds. */
const TRIED_AFTER = [0, 100, 1_000, 6_000, 10_000]

/** Does `work` while a load runs that has begun to succeed; ends the load whatever becomes of it. */
export async function underLoad(stage: Stage, work: (load: Load) => Promise<void>, options: LoadOptions = {}): Promise<Load> {
  const load = startLoad(stage, options)
  try {
    await load.firstGoodCall(performance.now())
    await work(load)
  } finally {
    await load.stop()
  }
  return load
}

/** A closed loop of mints and calls that remembers what it was told. Nothing is tried twice: each attempt is another one. */
export function startLoad(stage: Stage, options: LoadOptions = {}): Load {
  const { services, zone, basic, application } = stage
  const { clients = 4, pause = 10, administration = true } = options
  const agent = new Agent({ connections: 32, pipelining: 1 })
  const attempts: Attempt[] = []
  const told: Told = { mandates: [], calls: [], sessions: [], revoked: [], gaveUp: [] }
  const stopping = new AbortController()
  let made = 0
  // Every call of every load has a path of its own.
  const own = randomBytes(4).toString('hex')

  const attempt = async (
    what: Attempt['what'],
    url: string,
    options: { method: 'GET' | 'POST'; headers: Record<string, string>; body?: string },
  ): Promise<Answer> => {
    const began = performance.now()
    let answer: Answer = { status: 0, body: {} }
    let code = 'broken'
    try {
      const { statusCode, body } = await request(url, {
        ...options,
        dispatcher: agent,
        headersTimeout: PATIENCE_MS,
        bodyTimeout: PATIENCE_MS,
      })
      const text = await body.text()
      const parsed = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {}
      answer = { status: statusCode, body: parsed }
      code = statusCode < 300 ? String(statusCode) : String(parsed.code ?? statusCode)
    } catch {
      // A process that was killed: the client knows nothing.
    }
    attempts.push({ what, began, ended: performance.now(), status: answer.status, code })
    // Who was refused waits a little, as a client with manners would.
    if (answer.status >= 300 || answer.status === 0) await sleep(25)
    return answer
  }

  const mint = async (form: Readonly<Record<string, string>> = {}) => {
    const { status, body } = await attempt('mint', `${services.urls.sts}/oauth/2/token`, {
      method: 'POST',
      headers: { authorization: basic, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ grant_type: 'client_credentials', resource: RESOURCE, scope: 'chaos:read', ...form }).toString(),
    })
    if (status !== 200) return undefined
    told.mandates.push(String(body.mandate_id))
    return { token: String(body.access_token), id: String(body.mandate_id) }
  }

  const call = async (token: string): Promise<string> => {
    const path = `/items/${own}-${++made}`
    const { status, body } = await attempt('call', `${services.urls.gateway}/r/chaos${path}`, {
      method: 'GET',
      headers: { authorization: `Bearer ${token}` },
    })
    if (status === 200) told.calls.push(path)
    return status === 200 ? 'allowed' : String(body.code ?? 'broken')
  }

  const administer = (what: Attempt['what'], url: string, bearer: string | undefined, body?: unknown) =>
    attempt(what, url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${bearer}`,
        'content-type': 'application/json',
        'idempotency-key': `"${crypto.randomUUID()}"`,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })

  /** Does a piece of work until it is done, as a client with patience does; notes when that ran out. */
  const insist = async (work: () => Promise<boolean>) => {
    for (let tries = 0; tries < TRIES; tries++) {
      if (stopping.signal.aborted || (await work())) return
      await sleep(Math.min(20 * 2 ** tries, 500))
    }
    told.gaveUp.push(performance.now())
  }

  /** One mandate for a single call, then one for several: both kinds of client there are. */
  const caller = async () => {
    while (!stopping.signal.aborted) {
      await insist(async () => {
        const once = await mint({ once: 'true' })
        return once !== undefined && (await call(once.token)) === 'allowed'
      })
      let many: Held | undefined
      await insist(async () => {
        many = await mint()
        return many !== undefined
      })
      for (let at = 0; at < 3; at++) {
        await insist(async () => many !== undefined && (await call(many.token)) === 'allowed')
        await sleep(pause)
      }
    }
  }

  const starter = async () => {
    const url = `${services.urls.coordinator}/v1/zones/${zone}/sessions`
    const bearer = services.environment.COORDINATOR_TOKEN
    while (!stopping.signal.aborted) {
      const { status, body } = await administer('session', url, bearer, { kind: 'task', ttl: 600, application })
      if (status === 201) {
        const session = String(body.id)
        told.sessions.push(session)
        const mandate = await mint({ session })
        if (mandate !== undefined) await call(mandate.token)
        await administer('session', `${url}/${session}/end`, bearer)
      }
      await sleep(100)
    }
  }

  const trying: Promise<void>[] = []
  const revoke = async (held: Held): Promise<number> => {
    const url = `${services.urls.api}/v1/zones/${zone}/revocations`
    const body = { kind: 'mandate', id: held.id, reason: 'chaos' }
    const { status } = await administer('revocation', url, services.environment.ADMIN_TOKEN, body)
    if (status === 200) {
      const revoked: Revoked = { mandate: held.id, at: performance.now(), after: [] }
      told.revoked.push(revoked)
      trying.push(tryAgain(revoked, held.token))
    }
    return status
  }
  const revoker = async () => {
    while (!stopping.signal.aborted) {
      const mandate = await mint()
      if (mandate !== undefined && (await call(mandate.token)) === 'allowed') await revoke(mandate)
      await sleep(200)
    }
  }
  const tryAgain = async (revoked: Revoked, token: string) => {
    for (const after of TRIED_AFTER) {
      await sleep(Math.max(0, revoked.at + after - performance.now()))
      const began = performance.now()
      revoked.after.push({ began, code: await call(token) })
    }
  }

  const loops = [...Array.from({ length: clients }, caller), ...(administration ? [starter(), revoker()] : [])]
  return {
    attempts,
    told,
    firstGoodCall: async (since, timeoutMs = 60_000) => {
      const deadline = performance.now() + timeoutMs
      for (let at = 0; ; at = attempts.length) {
        const good = attempts
          .slice(at === 0 ? 0 : Math.max(0, at - 200))
          .find((one) => one.what === 'call' && one.status === 200 && one.began >= since)
        if (good !== undefined) return good.ended - since
        if (performance.now() > deadline) throw new Error(`no call succeeded in ${timeoutMs} ms`)
        await sleep(20)
      }
    },
    tally: (since = 0) => {
      const counts: Record<string, number> = {}
      for (const { what, code, began } of attempts) {
        if (began >= since) counts[`${what} ${code}`] = (counts[`${what} ${code}`] ?? 0) + 1
      }
      return counts
    },
    hold: async () => {
      for (;;) {
        const held = await mint()
        if (held !== undefined && (await call(held.token)) === 'allowed') return held
      }
    },
    revoke,
    call: ({ token }) => call(token),
    stop: async () => {
      stopping.abort()
      await Promise.all(loops)
      await Promise.all(trying)
      await agent.close()
    },
  }
}
