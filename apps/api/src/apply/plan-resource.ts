import type { ProviderId, Resource, ResourceId } from '@caracal/core'
import type { ResourceFields } from '@caracal/postgres'
import { resourceFaults } from './check-resource.ts'
import { resourceDefaults } from './document-schemas.ts'
import { blame, type DocumentOf, type Draft, documentsOf, planRow } from './plan-row.ts'
import { changesInWords } from './words.ts'

/** Plans one resource, after the providers: it names one of them. */
export function planResource(draft: Draft, document: DocumentOf<'Resource'>): void {
  const { holdings, ids, providers } = draft
  const { body } = document
  const { name, identifier, upstream, scopes } = body
  const before = holdings?.resources.find((one) => one.name === name)
  const id = before?.id ?? ids('resource', draft.name, name)
  const provider = body.provider === undefined ? undefined : providers.get(body.provider)
  // One whose own document is wrong is told of there.
  if (
    body.provider !== undefined &&
    provider === undefined &&
    !documentsOf(draft, 'Provider').some((one) => one.body.name === body.provider)
  ) {
    blame(draft, document, 'provider', `there is no provider ${body.provider} in zone ${draft.name}`)
  }
  const fields: ResourceFields = { name, identifier, upstream, scopes, provider: provider?.id ?? null, ...resourceDefaults(body) }
  for (const { field, message } of resourceFaults(fields)) blame(draft, document, field, message)
  const shown = (one: ResourceFields) => ({ ...one, provider: providerName(draft, one.provider) })
  const changes = before === undefined ? [] : changesInWords(shown(resourceFieldsOf(before)), shown(fields))
  planRow(draft, document, changes, { kind: 'resource', id, version: before?.version, fields })
  draft.resources.set(name, { id, ...fields })
}

/** A stored resource without what the database adds. */
export function resourceFieldsOf(resource: Resource): ResourceFields & { readonly id: ResourceId } {
  const { zone: _zone, version: _version, createdAt: _created, updatedAt: _updated, ...fields } = resource
  return fields
}

function providerName({ providers }: Draft, id: ProviderId | null): string | null {
  return [...providers.values()].find((one) => one.id === id)?.name ?? id
}
