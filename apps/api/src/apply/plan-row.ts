import {
  type ApplicationId,
  type BudgetId,
  type Id,
  type IdKind,
  newId,
  type ProviderId,
  type ResourceId,
  type Zone,
  type ZoneId,
} from '@caracal/core'
import type { BudgetFields, NewSecret, ProviderFields, ResourceFields } from '@caracal/postgres'
import type { Holdings } from './holdings.ts'
import type { DocumentProblem, ParsedDocument } from './parse-documents.ts'

/** One line of a plan, as it is answered. */
export type PlanStep = {
  /** `revoked`: it is as the document says, and has no authority; another one has to be made. */
  readonly action: 'create' | 'update' | 'unchanged' | 'revoked' | 'activate'
  readonly kind: string
  readonly zone: string | null
  readonly name: string
  readonly changes: readonly string[]
}

/** What a step writes. `version` is that of the row it changes; undefined: a new row. */
export type RowWrite =
  | { readonly kind: 'zone'; readonly id: ZoneId; readonly version: number | undefined; readonly fields: Pick<Zone, 'name' | 'labels'> }
  | {
      readonly kind: 'application'
      readonly id: ApplicationId
      readonly version: number | undefined
      readonly fields: { readonly name: string; readonly labels: readonly string[] }
    }
  | {
      readonly kind: 'provider'
      readonly id: ProviderId
      readonly version: number | undefined
      readonly fields: ProviderFields
      /** Undefined: it stays; null: it goes. */
      readonly secret: NewSecret | null | undefined
    }
  | { readonly kind: 'budget'; readonly id: BudgetId; readonly version: number | undefined; readonly fields: BudgetFields }
  | { readonly kind: 'resource'; readonly id: ResourceId; readonly version: number | undefined; readonly fields: ResourceFields }

export type PlannedRow = { readonly step: PlanStep; readonly write: RowWrite }

/** Ids of what does not exist yet: the same each time the plan is made for one request. */
export type NewIds = <K extends IdKind>(kind: K, zone: string, name: string) => Id<K>

export function newIds(): NewIds {
  const given = new Map<string, string>()
  return <K extends IdKind>(kind: K, zone: string, name: string) => {
    const key = `${kind}/${zone}/${name}`
    const id = given.get(key) ?? newId(kind)
    given.set(key, id)
    return id as Id<K>
  }
}

/** A plan while it is made: what the zone will hold, by name, and everything that is wrong with it. */
export type Draft = {
  readonly name: string
  readonly documents: readonly ParsedDocument[]
  readonly holdings: Holdings | undefined
  readonly ids: NewIds
  readonly rows: PlannedRow[]
  readonly warnings: string[]
  readonly problems: DocumentProblem[]
  readonly providers: Map<string, ProviderFields & { readonly id: ProviderId }>
  readonly resources: Map<string, ResourceFields & { readonly id: ResourceId }>
}

export type DocumentOf<K extends ParsedDocument['kind']> = ParsedDocument & { readonly kind: K }

export function documentsOf<const K extends ParsedDocument['kind']>(
  { documents }: Pick<Draft, 'documents'>,
  kind: K,
): readonly DocumentOf<K>[] {
  return documents.filter((document): document is DocumentOf<K> => document.kind === kind)
}

/** Notes what is wrong, at the document that is to blame. */
export function blame({ problems }: Pick<Draft, 'problems'>, document: ParsedDocument, field: string, message: string): void {
  problems.push({ ...document.placeOf(field), field, message })
}

/** Adds a row to the plan; what has no version yet is made, what has no changes stays. Revoked is said, for nothing undoes it. */
export function planRow(draft: Draft, document: ParsedDocument, changes: readonly string[], write: RowWrite): void {
  const { rows, name, warnings } = draft
  const { kind, body } = document
  const revoked = draft.holdings?.revoked.has(write.id) === true
  const same = revoked ? 'revoked' : 'unchanged'
  const action = write.version === undefined ? 'create' : changes.length === 0 ? same : 'update'
  if (revoked)
    warnings.push(`${kind} ${body.name} is revoked: applying it gives nothing back; \`caracal delete\` it and apply again for a new one`)
  rows.push({
    step: { action, kind, zone: kind === 'Zone' ? null : name, name: body.name, changes: action === 'create' ? [] : changes },
    write,
  })
}
