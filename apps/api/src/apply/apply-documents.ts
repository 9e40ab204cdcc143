import { type ProviderId, type Refusal, type Result, refuse, type ZoneId } from '@caracal/core'
import { inZone, lockInZone, noteSecretDigest, type Queryable } from '@caracal/postgres'
import { type Answer, answer, holdsRole } from '@caracal/service'
import { adminOf } from '../authentication.ts'
import { type ChangeEvent, type ChangeRequest, commitChange } from '../change/commit-change.ts'
import type { ApiDesk } from '../desk.ts'
import { type Holdings, readHoldings } from './holdings.ts'
import { type DocumentProblem, type ParsedDocument, parseDocuments, type SourceFile } from './parse-documents.ts'
import { type Placement, placeDocuments } from './place-documents.ts'
import { type PolicyPlan, planPolicies } from './plan-policies.ts'
import { type NewIds, newIds, type PlanStep } from './plan-row.ts'
import { planRows, type RowPlan } from './plan-rows.ts'
import { findSecrets, type SecretFinding, type SecretValues, secretProblems } from './secrets.ts'
import { writePolicies, writeRow } from './write-plan.ts'

export type ApplyInput = {
  readonly mode: 'plan' | 'apply'
  readonly activate: boolean
  readonly documents: readonly SourceFile[]
  readonly secrets: SecretValues
}

type ZonePlan = { readonly name: string; readonly rows: RowPlan; readonly policies: PolicyPlan }

type Plan = {
  readonly zones: readonly ZonePlan[]
  readonly steps: readonly PlanStep[]
  readonly warnings: readonly string[]
  readonly problems: readonly DocumentProblem[]
}

/**
 * Applies a set of documents as a whole, or says what that would change. In this order: everything is parsed; the plan is made and
 * checked against what exists; secrets are compared and sealed by the STS; then one transaction locks the zones, makes the plan
 * anew and writes it. So nothing of a bad set is applied, a refusal changed nothing, and what others changed in between is seen.
 * The same set applied again changes nothing.
 */
export async function applyDocuments(desk: ApiDesk, request: ChangeRequest, input: ApplyInput): Promise<Refusal | Answer> {
  const admin = adminOf(request.principal)
  const parsed = parseDocuments(input.documents)
  if (parsed.problems.length > 0) return unacceptable(parsed.problems)
  if (parsed.documents.length === 0) return refuse('validation_failed', 'there is no document in the set')

  const { query } = desk.database
  const placement = await placeDocuments(query, parsed.documents, admin.zone)
  const allowed = mayApply(admin, placement)
  if (!allowed.ok) return allowed
  const missing = secretProblems(placement.placed, input.secrets)
  if (placement.problems.length > 0) return unacceptable([...placement.problems, ...missing])

  const ids = newIds()
  const holdings = await holdingsOf(query, placement)
  const draft = makePlan(placement, holdings, ids, new Map(), input.activate)
  if (draft.problems.length + missing.length > 0) return unacceptable([...draft.problems, ...missing])
  const secrets = await findSecrets(placement.placed, holdings, input.secrets, ids, desk.sealing, input.mode === 'apply')
  if (!secrets.ok) return secrets
  if (input.mode === 'plan') return planAnswer(false, makePlan(placement, holdings, ids, secrets.value, input.activate))

  const done = await commitChange(desk, request, async (tx, now) => {
    // One order for everybody.
    for (const id of [...placement.zones.values()].map(({ id }) => id).sort()) await lockInZone(tx, id, 'apply')
    const current = await holdingsOf(tx, placement)
    if (current.size < placement.zones.size) return refuse('version_moved', 'a zone was deleted at the same time')
    const moved = secretsMoved(holdings, current, secrets.value)
    if (moved) return refuse('version_moved', 'a secret was changed at the same time')
    const plan = makePlan(placement, current, ids, secrets.value, input.activate)
    if (plan.problems.length > 0) return unacceptable(plan.problems)
    const events: ChangeEvent[] = []
    const config: { zone: ZoneId; entity: string; id: string }[] = []
    const activated = []
    for (const { rows, policies } of plan.zones) {
      const before = events.length
      for (const row of rows.rows) {
        const written = await inZone(rows.id, () => writeRow(tx, rows.id, row, now))
        if (!written.ok) return written
        events.push(...written.value)
      }
      if (events.length > before) config.push({ zone: rows.id, entity: 'zone', id: rows.id })
      const changed = policies.steps.filter(({ step }) => step.action !== 'unchanged' || policies.set !== undefined)
      const writes = changed.map(({ write }) => write)
      const written = await inZone(rows.id, () => writePolicies(tx, rows.id, writes, policies.set?.write, admin.id, now))
      if (!written.ok) return written
      events.push(...written.value.events)
      activated.push(...written.value.activated)
    }
    return { ok: true, value: { answer: planAnswer(true, plan), events, config, activated } }
  })
  if (!('reason' in done)) await noteNewDigests(desk, placement, draft, secrets.value)
  return done
}

/** Zones are an administrator's, policies a policy author's, everything else an operator's (P-122). */
function mayApply(admin: ReturnType<typeof adminOf>, { placed, zones }: Placement): Result<void, 'forbidden'> {
  for (const { document, zone } of placed) {
    const wanted = document.kind === 'Zone' ? 'admin' : document.kind === 'Policy' ? 'policy_author' : 'operator'
    if (!holdsRole(admin.roles, [wanted])) return refuse('forbidden', `a ${document.kind} needs the role ${wanted}`)
    // A zone of somebody else and one that does not exist are the same to a token of one zone.
    if (document.kind === 'Zone' && admin.zone !== null && zones.get(zone)?.id !== admin.zone)
      return refuse('forbidden', 'the token is for one zone')
  }
  return { ok: true, value: undefined }
}

async function holdingsOf(db: Queryable, placement: Placement): Promise<ReadonlyMap<string, Holdings>> {
  const found = new Map<string, Holdings>()
  for (const [name, { id }] of placement.zones) {
    const holdings = await inZone(id, () => readHoldings(db, id))
    if (holdings !== undefined) found.set(name, holdings)
  }
  return found
}

function makePlan(
  { placed }: Placement,
  holdings: ReadonlyMap<string, Holdings>,
  ids: NewIds,
  secrets: ReadonlyMap<ProviderId, SecretFinding>,
  activate: boolean,
): Plan {
  const zones = [...new Set(placed.map(({ zone }) => zone))].map((name): ZonePlan => {
    const documents: readonly ParsedDocument[] = placed.filter(({ zone }) => zone === name).map(({ document }) => document)
    const held = holdings.get(name)
    const rows = planRows(name, documents, held, ids, secrets)
    return { name, rows, policies: planPolicies(name, documents, held, rows, ids, activate) }
  })
  return {
    zones,
    steps: zones.flatMap(({ rows, policies }) => [
      ...rows.rows.map(({ step }) => step),
      ...policies.steps.map(({ step }) => step),
      ...(policies.set === undefined || !activate ? [] : [policies.set.step]),
    ]),
    warnings: zones.flatMap(({ rows, policies }) => [...rows.warnings, ...policies.warnings]),
    problems: zones.flatMap(({ rows, policies }) => [...rows.problems, ...policies.problems]),
  }
}

/** Whether a stored secret is another than the one that the new one was compared with and numbered after. */
function secretsMoved(
  before: ReadonlyMap<string, Holdings>,
  now: ReadonlyMap<string, Holdings>,
  found: ReadonlyMap<ProviderId, SecretFinding>,
): boolean {
  return [...now].some(([name, { secrets }]) =>
    [...found.keys()].some((id) => secrets.get(id)?.version !== before.get(name)?.secrets.get(id)?.version),
  )
}

/** The STS makes a zone's pepper once the zone is there. Without the note the next apply seals the same secret anew, nothing else. */
async function noteNewDigests(
  desk: ApiDesk,
  placement: Placement,
  plan: Plan,
  found: ReadonlyMap<ProviderId, SecretFinding>,
): Promise<void> {
  for (const { name, rows } of plan.zones) {
    if (placement.zones.has(name)) continue
    for (const { write } of rows.rows) {
      const finding = write.kind === 'provider' ? found.get(write.id) : undefined
      if (write.kind !== 'provider' || finding?.secret === undefined) continue
      const digest = await desk.sealing.digestProviderSecret(rows.id, write.id, finding.value)
      if (!digest.ok) return
      const { id } = rows
      const { version } = finding.secret
      await inZone(id, () => noteSecretDigest(desk.database.query, id, write.id, version, digest.value))
    }
  }
}

function planAnswer(applied: boolean, { steps, warnings }: Plan): Answer {
  return answer(200, { applied, steps, warnings })
}

/** All problems at once, in the order of the files. */
function unacceptable(problems: readonly DocumentProblem[]): Refusal<'validation_failed'> {
  const errors = [...problems].sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1))
  const count = errors.length === 1 ? '1 problem' : `${errors.length} problems`
  return refuse('validation_failed', `${count}; nothing was applied`, { errors })
}
