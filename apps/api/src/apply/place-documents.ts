import type { Zone, ZoneId } from '@caracal/core'
import { findZone, findZoneByName, listZones, type Queryable } from '@caracal/postgres'
import type { DocumentProblem, ParsedDocument } from './parse-documents.ts'

/** A document and the name of the zone it belongs to. */
export type PlacedDocument = { readonly document: ParsedDocument; readonly zone: string }

export type Placement = {
  readonly placed: readonly PlacedDocument[]
  /** The named zones that exist. A zone that is not in here is made by the set. */
  readonly zones: ReadonlyMap<string, Zone>
  readonly problems: readonly DocumentProblem[]
}

/**
 * Finds the zone of each document: the one it names, else the only Zone in the set, else the only zone there is. `own`: the zone
 * of a caller who may see no other; what lies in others does not exist for him.
 */
export async function placeDocuments(db: Queryable, documents: readonly ParsedDocument[], own: ZoneId | null): Promise<Placement> {
  const problems: DocumentProblem[] = []
  const inSet = documents.flatMap((document) => (document.kind === 'Zone' ? [document.body.name] : []))
  const tell = (document: ParsedDocument, field: string, message: string) => problems.push({ ...document.placeOf(field), field, message })

  const placed: PlacedDocument[] = []
  const seen = new Set<string>()
  let fallback: string | null | undefined
  for (const document of documents) {
    const named = document.kind === 'Policy' ? document.zone : document.kind === 'Zone' ? document.body.name : document.body.zone
    if (named === undefined && fallback === undefined) fallback = await onlyZone(db, inSet, own)
    const zone = named ?? fallback
    if (zone === undefined || zone === null) {
      tell(document, 'zone', 'is needed: neither the documents nor this installation have exactly one zone')
      continue
    }
    const key = `${document.kind}/${zone}/${document.body.name}`
    if (seen.has(key)) tell(document, 'name', `${document.kind} ${document.body.name} stands more than once in the set`)
    seen.add(key)
    placed.push({ document, zone })
  }

  const zones = new Map<string, Zone>()
  for (const name of new Set(placed.map(({ zone }) => zone))) {
    const found = await findZoneByName(db, name)
    if (found !== undefined && (own === null || found.id === own)) zones.set(name, found)
  }
  for (const { document, zone } of placed) {
    if (!zones.has(zone) && !inSet.includes(zone)) tell(document, 'zone', `there is no zone ${zone}`)
  }
  return { placed, zones, problems }
}

async function onlyZone(db: Queryable, inSet: readonly string[], own: ZoneId | null): Promise<string | null> {
  if (inSet.length > 0) return inSet.length === 1 ? (inSet[0] ?? null) : null
  if (own !== null) return (await findZone(db, own))?.name ?? null
  const { items, next } = await listZones(db, { limit: 1 })
  return next === null ? (items[0]?.name ?? null) : null
}
