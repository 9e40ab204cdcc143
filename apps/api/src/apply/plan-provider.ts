import type { Provider, ProviderId, ProviderMethod } from '@caracal/core'
import type { ProviderFields } from '@caracal/postgres'
import { providerMethod } from './check-provider.ts'
import { blame, type DocumentOf, type Draft, planRow } from './plan-row.ts'
import type { SecretFinding } from './secrets.ts'
import { changesInWords } from './words.ts'

/** Plans one provider. Its secret may be left out of the document when one is stored already. */
export function planProvider(draft: Draft, document: DocumentOf<'Provider'>, secrets: ReadonlyMap<ProviderId, SecretFinding>): void {
  const { holdings, ids } = draft
  const { body } = document
  const before = holdings?.providers.find((one) => one.name === body.name)
  const id = before?.id ?? ids('provider', draft.name, body.name)
  const { method, faults } = providerMethod(body)
  for (const { field, message } of faults) blame(draft, document, field, message)
  if (method === undefined) return
  const held = holdings?.secrets.has(id) === true
  if (method.kind === 'none' && body.secret !== undefined) blame(draft, document, 'secret', 'is for no provider with method none')
  if (method.kind !== 'none' && body.secret === undefined && !held)
    blame(draft, document, 'secret', `is required with method ${method.kind}`)

  const found = secrets.get(id)
  const removed = method.kind === 'none' && held
  const secret = removed ? null : found?.state === 'same' ? undefined : found?.secret
  const expiresAt = body.expiresAt === undefined ? null : Date.parse(body.expiresAt)
  const fields: ProviderFields = { name: body.name, hosts: body.hosts.map((host) => host.toLowerCase()), expiresAt, method }
  const changes = [
    ...(before === undefined ? [] : changesInWords(flat(providerFieldsOf(before)), flat(fields))),
    ...(removed ? ['secret: removed'] : found?.state === 'other' ? ['secret: another value'] : []),
  ]
  planRow(draft, document, changes, { kind: 'provider', id, version: before?.version, fields, secret })
  draft.providers.set(body.name, { id, ...fields })
}

/** A stored provider as fields and method apart. */
export function providerFieldsOf(provider: Provider): ProviderFields & { readonly id: ProviderId } {
  const { id, zone: _zone, name, hosts, expiresAt, version: _version, createdAt: _created, updatedAt: _updated, ...method } = provider
  return { id, name, hosts, expiresAt, method: method as ProviderMethod }
}

function flat({ method: { kind, ...members }, hosts, expiresAt }: ProviderFields) {
  return { method: kind, ...members, hosts, expiresAt }
}
