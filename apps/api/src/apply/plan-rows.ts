import type { ApplicationId, ProviderId, ResourceId, Zone, ZoneId } from '@caracal/core'
import type { ResourceFields } from '@caracal/postgres'
import { checkTogether } from './check-together.ts'
import type { Holdings } from './holdings.ts'
import type { DocumentProblem, ParsedDocument } from './parse-documents.ts'
import { planBudget } from './plan-budget.ts'
import { planProvider, providerFieldsOf } from './plan-provider.ts'
import { planResource, resourceFieldsOf } from './plan-resource.ts'
import { type Draft, documentsOf, type NewIds, type PlannedRow, planRow } from './plan-row.ts'
import type { SecretFinding } from './secrets.ts'
import { changesInWords } from './words.ts'

export type RowPlan = {
  readonly id: ZoneId
  /** In the order of writing: a zone before what it holds, a provider before its resources. */
  readonly rows: readonly PlannedRow[]
  readonly warnings: readonly string[]
  readonly problems: readonly DocumentProblem[]
  /** The zone as it will be. */
  readonly zone: Pick<Zone, 'id' | 'name' | 'labels'>
  readonly applications: readonly NamedApplication[]
  readonly resources: readonly (ResourceFields & { readonly id: ResourceId })[]
}

type NamedApplication = { readonly id: ApplicationId; readonly name: string; readonly labels: readonly string[] }

/** What documents make of a zone's rows, and everything that does not fit together in what would result. Pure. */
export function planRows(
  name: string,
  documents: readonly ParsedDocument[],
  holdings: Holdings | undefined,
  ids: NewIds,
  secrets: ReadonlyMap<ProviderId, SecretFinding>,
): RowPlan {
  const draft: Draft = {
    name,
    documents,
    holdings,
    ids,
    rows: [],
    warnings: [],
    problems: [],
    providers: new Map(holdings?.providers.map((one) => [one.name, providerFieldsOf(one)])),
    resources: new Map(holdings?.resources.map((one) => [one.name, resourceFieldsOf(one)])),
  }
  const zone = planZone(draft)
  const applications = planApplications(draft)
  for (const document of documentsOf(draft, 'Provider')) planProvider(draft, document, secrets)
  for (const document of documentsOf(draft, 'Resource')) planResource(draft, document)
  for (const document of documentsOf(draft, 'Budget')) planBudget(draft, document, applications)
  checkTogether(draft)
  return {
    id: zone.id,
    rows: draft.rows,
    warnings: draft.warnings,
    problems: draft.problems,
    zone,
    applications,
    resources: [...draft.resources.values()],
  }
}

function planZone(draft: Draft): RowPlan['zone'] {
  const { name, holdings, ids } = draft
  const before = holdings?.zone ?? { id: ids('zone', name, name), name, labels: [] }
  const [document] = documentsOf(draft, 'Zone')
  if (document === undefined) return before
  const fields = { name, labels: document.body.labels ?? [] }
  planRow(draft, document, changesInWords(before, fields), { kind: 'zone', id: before.id, version: holdings?.zone.version, fields })
  return { id: before.id, ...fields }
}

function planApplications(draft: Draft): readonly NamedApplication[] {
  const { holdings, ids } = draft
  const applications = new Map<string, NamedApplication>(holdings?.applications.map((one) => [one.name, one]))
  for (const document of documentsOf(draft, 'Application')) {
    const { name, labels = [] } = document.body
    const before = holdings?.applications.find((one) => one.name === name)
    const id = before?.id ?? ids('application', draft.name, name)
    const fields = { name, labels }
    planRow(draft, document, changesInWords(before ?? {}, fields), { kind: 'application', id, version: before?.version, fields })
    applications.set(name, { id, ...fields })
  }
  return [...applications.values()]
}
