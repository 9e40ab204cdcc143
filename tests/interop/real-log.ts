import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Lab, startLab } from '../e2e/lab.ts'

/** A log that a running Caracal wrote: mandates, calls, refusals, revocations. */
export type RealLog = {
  readonly lab: Lab
  readonly origin: string
  readonly key: string
  /** Base URL of the log, and the token to read it. */
  readonly url: string
  readonly token: string
  /** A checkpoint from the middle, and one of the end. */
  readonly early: string
  readonly late: string
  /** The whole log as `caracal audit export` writes it, later than `late`: its export is an event too. */
  readonly bundleFile: string
  readonly bundle: string
  /** One event of each type, with its proof in `late`. */
  readonly proofs: readonly Proof[]
  /** For files of the test; goes with the rest. */
  readonly folder: string
  get(path: string): Promise<Response>
  stop(): Promise<void>
}

export type Proof = { readonly index: number; readonly checkpoint: string; readonly event: string; readonly hashes: readonly string[] }

/** Runs Caracal, works with it, and collects what it publishes. 92 rounds are more than a tile of 256 events. */
export async function recordRealLog(rounds: number): Promise<RealLog> {
  const lab = await startLab()
  const folder = mkdtempSync(join(tmpdir(), 'caracal-interop-'))
  const stop = async () => {
    rmSync(folder, { recursive: true, force: true })
    await lab.stop()
  }
  return record(lab, folder, stop, rounds).catch(async (error: unknown) => {
    await stop()
    throw error
  })
}

async function record(lab: Lab, folder: string, stop: RealLog['stop'], rounds: number): Promise<RealLog> {
  const token = readFileSync(join(lab.installation.home, 'keys/audit-admin-token'), 'utf8').trim()
  const base = `${lab.installation.endpoints.audit}/v1/zones/${lab.zone}`
  const get = (path: string) => fetch(`${base}${path}`, { headers: { authorization: `Bearer ${token}` } })

  await work(lab, 6)
  const early = await checkpointPast(get, 24)
  await work(lab, rounds - 6)
  const late = await checkpointPast(get, rounds * 4)

  const { origin, vkeys } = (await (await get('/log/keys')).json()) as { origin: string; vkeys: string[] }
  const size = sizeOf(late)
  const proofs: Proof[] = []
  for (const type of ['mandate.issued', 'mandate.refused', 'call.allowed', 'call.finished', 'call.refused', 'revocation.published']) {
    const { items } = (await (await get(`/events?type=${type}&order=asc&limit=1`)).json()) as { items: { id: string; index: number }[] }
    for (const { id } of items) proofs.push((await (await get(`/events/${id}/proof?size=${size}`)).json()) as Proof)
  }
  const bundleFile = join(folder, 'bundle.jsonl')
  const exported = await lab.installation.caracal(['audit', 'export', '--zone', 'lab', '--output', bundleFile])
  if (exported.code !== 0) throw new Error(exported.stderr)
  return {
    lab,
    origin,
    key: vkeys.at(-1) ?? '',
    url: `${base}/log`,
    token,
    early,
    late,
    bundleFile,
    bundle: readFileSync(bundleFile, 'utf8'),
    proofs,
    folder,
    get,
    stop,
  }
}

export function sizeOf(checkpoint: string): number {
  return Number(checkpoint.split('\n')[1])
}

/** Mints, calls, is refused, and revokes one mandate. */
async function work(lab: Lab, rounds: number): Promise<void> {
  const call = (mandate: string, path: string) =>
    fetch(`${lab.installation.endpoints.gateway}/r/lab${path}`, { headers: { authorization: `Bearer ${mandate}` } }).then((answer) =>
      answer.arrayBuffer(),
    )
  const round = async () => {
    const { token, id } = await lab.mandate()
    await call(token, '/items/naïve%20😀')
    await call(token, '/nowhere')
    return { token, id }
  }
  const [last] = await Promise.all([round(), ...Array.from({ length: rounds - 1 }, round)])
  await lab.token(lab.caller, { resource: 'https://nobody.example/' })
  const revoked = await lab.installation.caracal(['revoke', 'mandate', last.id, '--zone', 'lab', '--yes'])
  if (revoked.code !== 0) throw new Error(revoked.stderr)
  await call(last.token, '/items/1')
}

async function checkpointPast(get: RealLog['get'], size: number): Promise<string> {
  for (const end = Date.now() + 60_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const note = await (await get('/log/checkpoint')).text()
    if (sizeOf(note) >= size) return note
  }
  throw new Error(`the log has not grown past ${size}`)
}
