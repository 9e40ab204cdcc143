import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Installation } from './installation.ts'
import { type ProcessorTime, perRequest } from './processor-time.ts'
import { type Run, wrk } from './wrk.ts'
import { CALL_PATH, mintForm, type Zone } from './zone.ts'

export type PairLoad = {
  readonly sts: readonly string[]
  readonly gateways: readonly string[]
  /** Requests under way at once, over both halves. */
  readonly connections: number
  readonly seconds: number
}

export type Pairs = {
  /** Calls that came back with the answer of the upstream, each with a mandate of its own. */
  readonly pairs: number
  readonly perSecond: number
  readonly minted: number
  readonly errors: number
  readonly mint: Pick<Run, 'p50' | 'p99'>
  readonly call: Pick<Run, 'p50' | 'p99'>
  /** Per pair. */
  readonly cpu: ProcessorTime
}

let pipes = 0

/**
 * Mints a single-use mandate and makes the call with it, over and over. wrk knows one host only, so one wrk mints with half of the
 * connections and hands each mandate through a pipe of the system to another, which calls with the other half. Sixteen mandates
 * wait in the pipe at most: whichever half is faster waits for the other, and that waiting counts into its latency.
 */
export async function runPairs(installation: Installation, zone: Zone, load: PairLoad): Promise<Pairs> {
  pipes += 1
  const pipe = join(installation.folder, `pipe-${pipes}`)
  execFileSync('mkfifo', [pipe])
  const half = Math.max(1, Math.floor(load.connections / 2))
  const share = (among: readonly string[]) => Math.max(1, Math.floor(half / among.length))
  const common = { pipe, credentials: zone.credentialsFile, form: mintForm({ once: 'true' }) }
  const before = installation.time()
  const calling = load.gateways.map((url) =>
    wrk({
      url: url + CALL_PATH,
      script: 'call',
      connections: share(load.gateways),
      seconds: load.seconds,
      settings: common,
    }),
  )
  const minting = load.sts.map((url) =>
    wrk({ url: `${url}/oauth/2/token`, script: 'mint', connections: share(load.sts), seconds: load.seconds, settings: common }),
  )
  const [calls, mints] = await Promise.all([Promise.all(calling), Promise.all(minting)])
  const after = installation.time()
  rmSync(pipe)
  for (const { said } of mints) if (said !== '') process.stderr.write(`${said}\n`)

  const sum = (runs: readonly Run[], of: (run: Run) => number) => runs.reduce((total, run) => total + of(run), 0)
  const answered = (run: Run) => Math.max(0, run.requests - (run.counts.idle ?? 0))
  const pairs = sum(calls, answered)
  const worst = (runs: readonly Run[]) => ({ p50: Math.max(...runs.map(({ p50 }) => p50)), p99: Math.max(...runs.map(({ p99 }) => p99)) })
  const generator = Math.round(sum([...calls, ...mints], ({ cpu }) => cpu) / Math.max(1, pairs))
  return {
    pairs,
    perSecond: sum(calls, (run) => answered(run) / run.seconds),
    minted: sum(mints, (run) => run.counts.minted ?? 0),
    // An answer of 400 and more from the STS is among its errors already; `refused` also counts a 200 without a mandate.
    errors: sum(calls, (run) => run.errors) + sum(mints, (run) => Math.max(run.errors, run.counts.refused ?? 0)),
    mint: worst(mints),
    call: worst(calls),
    cpu: { ...perRequest(before, after, pairs), generator },
  }
}
