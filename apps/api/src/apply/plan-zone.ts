import {
  type ApplicationId,
  type Id,
  type IdKind,
  newId,
  type Provider,
  type ProviderId,
  type ProviderMethod,
  type Resource,
  type ResourceId,
  type Zone,
  type ZoneId,
} from '@caracal/core'
import type { NewSecret, ProviderFields, ResourceFields } from '@caracal/postgres'
import { providerMethod } from './check-provider.ts'
import { isBoundHost, resourceFaults } from './check-resource.ts'
import { type ProviderDocument, type ResourceDocument, resourceDefaults } from './document-schemas.ts'
import type { Holdings } from './holdings.ts'
import type { DocumentProblem, ParsedDocument } from './parse-documents.ts'
import type { SecretFinding } from './secrets.ts'
import { changesInWords } from './words.ts'

/** One line of a plan, as it is answered. */
export type PlanStep = {
  readonly action: 'create' | 'update' | 'unchanged' | 'activate'
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

export type RowPlan = {
  readonly id: ZoneId
  readonly rows: readonly PlannedRow[]
  readonly problems: readonly DocumentProblem[]
  /** The zone as it will be. */
  readonly zone: Pick<Zone, 'id' | 'name' | 'labels'>
  readonly applications: readonly { readonly id: ApplicationId; readonly name: string; readonly labels: readonly string[] }[]
  readonly resources: readonly (ResourceFields & { readonly id: ResourceId })[]
}

type PlannedProvider = ProviderFields & { readonly id: ProviderId }

/** What documents make of a zone's rows, and everything that does not fit together in what would result. Pure. */
export function planRows(
  name: string,
  documents: readonly ParsedDocument[],
  holdings: Holdings | undefined,
  ids: NewIds,
  secrets: ReadonlyMap<ProviderId, SecretFinding>,
): RowPlan {
  const problems: DocumentProblem[] = []
  const tell = (document: ParsedDocument, field: string, message: string) => problems.push({ ...document.origin, field, message })
  const rows: PlannedRow[] = []
  const plan = (kind: string, rowName: string, changes: readonly string[], write: RowWrite) => {
    const action = write.version === undefined ? 'create' : changes.length === 0 ? 'unchanged' : 'update'
    rows.push({
      step: { action, kind, zone: kind === 'Zone' ? null : name, name: rowName, changes: action === 'create' ? [] : changes },
      write,
    })
  }

  let zone: Pick<Zone, 'id' | 'name' | 'labels'> = holdings?.zone ?? { id: ids('zone', name, name), name, labels: [] }
  const applications = new Map(holdings?.applications.map((one) => [one.name, { id: one.id, name: one.name, labels: one.labels }]))
  const providers = new Map<string, PlannedProvider>(holdings?.providers.map((one) => [one.name, fieldsOf(one)]))
  const resources = new Map(holdings?.resources.map((one) => [one.name, resourceFieldsOf(one)]))

  for (const document of documents) {
    if (document.kind === 'Zone') {
      const fields = { name, labels: document.body.labels ?? [] }
      plan('Zone', name, changesInWords(zone, fields), { kind: 'zone', id: zone.id, version: holdings?.zone.version, fields })
      zone = { id: zone.id, ...fields }
    } else if (document.kind === 'Application') {
      const { body } = document
      const before = holdings?.applications.find((one) => one.name === body.name)
      const id = before?.id ?? ids('application', name, body.name)
      const fields = { name: body.name, labels: body.labels ?? [] }
      plan('Application', body.name, changesInWords(before ?? {}, fields), { kind: 'application', id, version: before?.version, fields })
      applications.set(body.name, { id, ...fields })
    }
  }
  for (const document of documents) {
    if (document.kind !== 'Provider') continue
    const before = holdings?.providers.find((one) => one.name === document.body.name)
    const id = before?.id ?? ids('provider', name, document.body.name)
    const { method, faults } = providerMethod(document.body)
    for (const { field, message } of faults) tell(document, field, message)
    if (method === undefined) continue
    const found = secrets.get(id)
    const held = before !== undefined && holdings?.secrets.has(before.id) === true
    if (method.kind === 'none' && document.body.secret !== undefined) tell(document, 'secret', 'is for no provider with method none')
    if (method.kind !== 'none' && document.body.secret === undefined && !held)
      tell(document, 'secret', `is required with method ${method.kind}`)
    const fields = { ...providerFields(document.body), method }
    const secret = method.kind === 'none' ? (held ? null : undefined) : found?.state === 'same' ? undefined : found?.secret
    const changes = before === undefined ? [] : providerChanges(before, fields)
    if (secret === null) changes.push('secret: removed')
    else if (found?.state === 'other') changes.push('secret: another value')
    plan('Provider', document.body.name, changes, { kind: 'provider', id, version: before?.version, fields, secret })
    providers.set(document.body.name, { id, ...fields })
  }
  for (const document of documents) {
    if (document.kind !== 'Resource') continue
    const { body } = document
    const before = holdings?.resources.find((one) => one.name === body.name)
    const id = before?.id ?? ids('resource', name, body.name)
    const provider = body.provider === undefined ? undefined : providers.get(body.provider)
    if (
      body.provider !== undefined &&
      provider === undefined &&
      !documents.some((one) => one.kind === 'Provider' && one.body.name === body.provider)
    )
      tell(document, 'provider', `there is no provider ${body.provider} in zone ${name}`)
    const fields = resourceFields(body, provider?.id ?? null)
    for (const { field, message } of resourceFaults(fields)) tell(document, field, message)
    const named = (one: ResourceFields) => ({ ...one, provider: nameOf(providers, one.provider) })
    plan('Resource', body.name, before === undefined ? [] : changesInWords(named(resourceFieldsOf(before)), named(fields)), {
      kind: 'resource',
      id,
      version: before?.version,
      fields,
    })
    resources.set(body.name, { id, ...fields })
  }

  const byIdentifier = new Map<string, string>()
  for (const resource of resources.values()) {
    const document = documents.find((one) => one.kind === 'Resource' && one.body.name === resource.name)
    const other = byIdentifier.get(resource.identifier)
    if (other !== undefined) {
      const otherDocument = documents.find((one) => one.kind === 'Resource' && one.body.name === other)
      const blamed = document ?? otherDocument
      if (blamed !== undefined)
        tell(blamed, 'identifier', `${resource.identifier} is the identifier of ${document ? other : resource.name} too`)
    }
    byIdentifier.set(resource.identifier, resource.name)
    const provider = [...providers.values()].find((one) => one.id === resource.provider)
    if (provider === undefined || isBoundHost(provider, resource.upstream)) continue
    const blamed = document ?? documents.find((one) => one.kind === 'Provider' && one.body.name === provider.name)
    const host = URL.canParse(resource.upstream) ? new URL(resource.upstream).host : resource.upstream
    if (blamed !== undefined)
      tell(
        blamed,
        document ? 'upstream' : 'hosts',
        `the upstream host ${host} of resource ${resource.name} is not among the hosts of provider ${provider.name}`,
      )
  }
  return { id: zone.id, rows, problems, zone, applications: [...applications.values()], resources: [...resources.values()] }
}

function nameOf(providers: ReadonlyMap<string, PlannedProvider>, id: ProviderId | null): string | null {
  return [...providers.values()].find((one) => one.id === id)?.name ?? id
}

function providerFields(body: ProviderDocument): Omit<ProviderFields, 'method'> {
  return {
    name: body.name,
    hosts: body.hosts.map((host) => host.toLowerCase()),
    expiresAt: body.expiresAt === undefined ? null : Date.parse(body.expiresAt),
  }
}

/** A stored provider as fields and method apart. */
export function fieldsOf(provider: Provider): PlannedProvider {
  const { id, zone: _zone, name, hosts, expiresAt, version: _version, createdAt: _created, updatedAt: _updated, ...method } = provider
  return { id, name, hosts, expiresAt, method: method as ProviderMethod }
}

function providerChanges(before: Provider, after: ProviderFields): string[] {
  const flat = ({ method: { kind, ...rest }, hosts, expiresAt }: ProviderFields) => ({ method: kind, ...rest, hosts, expiresAt })
  return changesInWords(flat(fieldsOf(before)), flat(after))
}

function resourceFields(body: ResourceDocument, provider: ProviderId | null): ResourceFields {
  const { name, identifier, upstream, scopes } = body
  return { name, identifier, upstream, scopes, provider, ...resourceDefaults(body) }
}

/** A stored resource without what the database adds. */
export function resourceFieldsOf(resource: Resource): ResourceFields & { readonly id: ResourceId } {
  const { zone: _zone, version: _version, createdAt: _created, updatedAt: _updated, ...fields } = resource
  return fields
}
