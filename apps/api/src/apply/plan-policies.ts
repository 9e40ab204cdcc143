import { createHash } from 'node:crypto'
import {
  type CompiledPolicies,
  canonicalJson,
  compilePolicies,
  diffWhoCan,
  lintPolicies,
  type PolicyDocument,
  type PolicyId,
  type PolicyVersionId,
  type WhoCanQuestion,
  whoCan,
} from '@caracal/core'
import type { Holdings } from './holdings.ts'
import type { DocumentProblem, ParsedDocument } from './parse-documents.ts'
import type { NewIds, PlanStep } from './plan-row.ts'
import type { RowPlan } from './plan-rows.ts'
import { ruleChanges } from './words.ts'

/** A policy version to be made. */
export type PolicyWrite = {
  readonly policy: PolicyId
  readonly name: string
  /** The policy itself is new. */
  readonly fresh: boolean
  readonly version: { readonly id: PolicyVersionId; readonly source: string; readonly canonical: string; readonly sha256: string }
}

/** What the set version will pin: members that stay, and versions of this plan. */
export type SetWrite = {
  readonly expected: number
  readonly keep: readonly { readonly policy: PolicyId; readonly version: PolicyVersionId; readonly sha256: string }[]
  readonly pin: readonly PolicyWrite[]
  readonly activate: boolean
}

export type PolicyPlan = {
  readonly steps: readonly { readonly step: PlanStep; readonly write: PolicyWrite }[]
  readonly set: { readonly step: PlanStep; readonly write: SetWrite } | undefined
  readonly problems: readonly DocumentProblem[]
  readonly warnings: readonly string[]
}

/** More lines than this about who can do what help nobody. */
const MOST_LINES = 40
/** More questions than this are not asked for a plan. */
const MOST_QUESTIONS = 50_000

type PolicyText = ParsedDocument & { readonly kind: 'Policy' }

/**
 * What documents make of a zone's policies: versions, and one set version with everything that is active and what is new. What was
 * written but never activated is not activated along the way. Compiled and linted against the names that result. Pure.
 */
export function planPolicies(
  zoneName: string,
  documents: readonly ParsedDocument[],
  holdings: Holdings | undefined,
  rows: RowPlan,
  ids: NewIds,
  activate: boolean,
): PolicyPlan {
  const given = documents.filter((document): document is PolicyText => document.kind === 'Policy')
  const problems: DocumentProblem[] = []
  const warnings: string[] = []
  const names = new Set(given.map(({ body }) => body.name))
  const live = new Set(holdings?.policies.map(({ id }) => id))
  const kept = (holdings?.active?.members ?? []).filter((member) => live.has(member.policy) && !names.has(member.document.name))

  const steps = given.map(({ body, source }) => {
    const canonical = canonicalJson(body)
    const sha256 = createHash('sha256').update(canonical).digest('hex')
    const before = holdings?.policies.find((policy) => policy.name === body.name)
    const policy = before?.id ?? ids('policy', zoneName, body.name)
    const active = holdings?.active?.members.find((member) => member.policy === policy)
    const same = active?.sha256 === sha256 || before?.sha256 === sha256
    const action: PlanStep['action'] = before === undefined ? 'create' : same ? 'unchanged' : 'update'
    const changes = action === 'update' ? ruleChanges(active?.document, body) : []
    const version = { id: ids('policyVersion', zoneName, body.name), source, canonical, sha256 }
    return {
      step: { action, kind: 'Policy', zone: zoneName, name: body.name, changes },
      write: { policy, name: body.name, fresh: before === undefined, version },
    }
  })

  const after: readonly PolicyDocument[] = [...kept.map(({ document }) => document), ...given.map(({ body }) => body)]
  const originOf = (policy: string) => given.find(({ body }) => body.name === policy)
  const compiled = compilePolicies(after)
  if (!compiled.ok) {
    for (const { path, message } of compiled.problems) {
      const origin = originOf(path.split('/')[0] ?? '')?.origin ?? given[0]?.origin
      if (origin !== undefined) problems.push({ ...origin, field: path, message })
    }
  }
  for (const finding of lintPolicies(after, knownNames(rows))) {
    const document = originOf(finding.policy)
    if (document === undefined) continue
    const at = document.body.rules.findIndex(({ id }) => id === finding.rule)
    const field = `rules[${at}].${finding.field}`
    if (finding.severity === 'error') problems.push({ ...document.origin, field, message: finding.message })
    else
      warnings.push(
        `${document.origin.file}:${document.origin.line} ${finding.policy}/${finding.rule} ${finding.field}: ${finding.message}`,
      )
  }
  return { steps, set: setPlan(), problems, warnings }

  function setPlan(): PolicyPlan['set'] {
    if (given.length === 0) return undefined
    const { active } = holdings ?? { active: null }
    const pinned = [...kept, ...steps.map(({ write }) => ({ policy: write.policy, sha256: write.version.sha256 }))]
    const text = (members: readonly { policy: PolicyId; sha256: string }[]) =>
      members
        .map(({ policy, sha256 }) => `${policy} ${sha256}`)
        .sort()
        .join()
    if (active !== null && text(active.members) === text(pinned)) return undefined
    const keep = kept.map(({ policy, version, sha256 }) => ({ policy, version, sha256 }))
    const write = { expected: active?.generation ?? 0, keep, pin: steps.map((one) => one.write), activate }
    const before = active === null ? null : compilePolicies(active.members.map(({ document }) => document))
    const changes = compiled.ok ? accessChanges(before?.ok ? before.value : null, compiled.value, rows) : []
    return { step: { action: 'activate', kind: 'PolicySet', zone: zoneName, name: 'default', changes }, write }
  }
}

function knownNames({ applications, resources }: RowPlan) {
  return {
    applications: applications.map(({ name }) => name),
    labels: [...new Set(applications.flatMap(({ labels }) => labels))],
    resources: resources.map(({ identifier, scopes }) => ({ identifier, scopes })),
  }
}

/** Who can do what after it and could not before, and the other way round. */
function accessChanges(before: CompiledPolicies | null, after: CompiledPolicies, rows: RowPlan): string[] {
  const { zone, applications, resources } = rows
  const questions = applications.length * resources.reduce((sum, { scopes }) => sum + scopes.length, 0)
  if (questions > MOST_QUESTIONS) return []
  const question: WhoCanQuestion = { zone, applications, resources }
  const lines = diffWhoCan(whoCan(before, question), whoCan(after, question)).map(({ words }) => words)
  return lines.length > MOST_LINES ? [...lines.slice(0, MOST_LINES), `and ${lines.length - MOST_LINES} more`] : lines
}
