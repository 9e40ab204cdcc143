import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, inject } from 'vitest'
import type { EvidenceCount } from './count-evidence.ts'
import type { Load } from './load.ts'
import type { Stage } from './stage.ts'

type Event = {
  readonly id: string
  readonly type: string
  readonly mandate?: { readonly jti: string }
  readonly operation?: { readonly path?: string }
  readonly target?: { readonly id: string }
}

type Ledger = { readonly events: readonly Event[]; readonly indexes: readonly number[] }

/** The longest that evidence may take after the last fault: what a store lost is missed after 30 s and sent again. */
const SETTLE_MS = 120_000

/** Calls at the upstream that were counted before, when an installation serves several scenarios. */
const counted = new WeakMap<Stage, number>()

/**
 * Waits until the ledger holds the evidence of every effect that was seen from outside, then verifies the whole log as a stranger
 * would: exported, offline, with the public key. Nothing may be missing, twice or set aside. The counts go into the sum of the run.
 */
export async function expectNothingLost(stage: Stage, ...loads: readonly Load[]): Promise<EvidenceCount> {
  const deadline = Date.now() + SETTLE_MS
  let missing = await missingEvidence(stage, ...loads)
  while (missing.length > 0 && Date.now() < deadline) {
    await sleep(2_000)
    missing = await missingEvidence(stage, ...loads)
  }
  const all = effectsOf(stage, loads).length
  const effects = all - (counted.get(stage) ?? 0)
  counted.set(stage, stage.upstream.seen.length)
  const count = { effects, evidence: effects - missing.length }
  appendFileSync(inject('evidenceCount'), `${JSON.stringify(count)}\n`)
  expect(missing, 'effects without evidence').toEqual([])

  const { events, indexes } = await readLedger(stage)
  expect(indexes, 'no gap in the log').toEqual(indexes.map((_, at) => at))
  expect(new Set(events.map(({ id }) => id)).size, 'no event twice').toBe(events.length)
  const decisions = events.flatMap(decisionOf)
  expect(new Set(decisions).size, 'no decision twice').toBe(decisions.length)
  await expectVerifiesOffline(stage)
  expect(await quarantined(stage)).toEqual([])
  return count
}

/** Ids of what was seen from outside: calls that reached the upstream, and what clients were told. */
function effectsOf(stage: Stage, loads: readonly Load[]): string[] {
  return [
    ...stage.upstream.seen.map(({ url }) => `call.allowed ${url}`),
    ...loads.flatMap(({ told }) => [
      ...told.mandates.map((id) => `mandate.issued ${id}`),
      ...told.sessions.map((id) => `session.started ${id}`),
      ...told.revoked.map(({ mandate }) => `revocation.published ${mandate}`),
    ]),
  ]
}

/** What an event is the evidence of, in the words of `effectsOf`. */
function decisionOf({ type, mandate, operation, target }: Event): string[] {
  if (type === 'call.allowed') return [`${type} ${operation?.path}`]
  if (type === 'mandate.issued') return [`${type} ${mandate?.jti}`]
  if (type === 'session.started' || type === 'revocation.published') return [`${type} ${target?.id}`]
  return []
}

/** What was seen from outside so far and has no evidence in the ledger yet. */
export async function missingEvidence(stage: Stage, ...loads: readonly Load[]): Promise<string[]> {
  const held = new Set((await readLedger(stage)).events.flatMap(decisionOf))
  // What the upstream answered was seen by it: otherwise the count of effects itself would be wrong.
  const seen = new Set(stage.upstream.seen.map(({ url }) => url))
  for (const { told } of loads) for (const path of told.calls) expect(seen.has(path), path).toBe(true)
  return effectsOf(stage, loads).filter((effect) => !held.has(effect))
}

/** Every event of the zone in the order of the log, from a bundle of the whole log. */
async function readLedger({ services, zone }: Stage): Promise<Ledger> {
  const answer = await fetch(`${services.urls.audit}/v1/zones/${zone}/exports`, {
    method: 'POST',
    headers: { authorization: `Bearer ${services.environment.AUDIT_ADMIN_TOKEN}`, 'content-type': 'application/json' },
    body: '{}',
  }).catch(() => undefined)
  if (answer?.status !== 200) return { events: [], indexes: [] }
  const lines = (await answer.text()).split('\n').filter((line) => line.includes('"kind":"event"'))
  const parsed = lines.map((line) => JSON.parse(line) as { kind: string; index: number; event: string })
  const entries = parsed.filter(({ kind }) => kind === 'event')
  return { events: entries.map(({ event }) => JSON.parse(event) as Event), indexes: entries.map(({ index }) => index) }
}

async function expectVerifiesOffline({ services }: Stage): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-bundle-'))
  try {
    const file = join(folder, 'bundle')
    const exported = await services.caracal(['--json', 'audit', 'export', '--zone', 'chaos', '--output', file])
    expect(exported.code, exported.stderr).toBe(0)
    const { vkeys } = JSON.parse(exported.stdout) as { vkeys: string[] }
    const key = vkeys.at(-1) ?? ''
    // No address of any service: only the file and the key.
    const nowhere = Object.fromEntries(
      Object.keys(services.urls).map((role) => [`CARACAL_${role.toUpperCase()}_URL`, 'http://127.0.0.1:9']),
    )
    const verified = await services.caracal(['audit', 'verify', '--bundle', file, '--key', key], nowhere)
    expect(verified.code, verified.stdout + verified.stderr).toBe(0)
    expect(readFileSync(file).length).toBeGreaterThan(0)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Reasons of what was set aside instead of going into the ledger. */
export async function quarantined({ services }: Stage): Promise<string[]> {
  const answer = await fetch(`${services.urls.audit}/v1/quarantine`, {
    headers: { authorization: `Bearer ${services.environment.AUDIT_ADMIN_TOKEN}` },
  })
  const { items } = (await answer.json()) as { items: { reason: string }[] }
  return items.map(({ reason }) => reason)
}
