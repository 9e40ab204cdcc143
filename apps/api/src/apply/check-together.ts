import type { ProviderFields, ResourceFields } from '@caracal/postgres'
import { isBoundHost } from './check-resource.ts'
import { blame, type Draft, documentsOf } from './plan-row.ts'

/**
 * What is wrong only between rows of the zone as it would be: identifiers that stand twice, upstreams outside the hosts of their
 * provider. The blame goes to a document of the set, because that is what makes it wrong.
 */
export function checkTogether(draft: Draft): void {
  const byIdentifier = new Map<string, ResourceFields>()
  const providers = new Map([...draft.providers.values()].map((provider) => [provider.id, provider]))
  for (const resource of draft.resources.values()) {
    const twin = byIdentifier.get(resource.identifier)
    if (twin !== undefined) checkTwins(draft, resource, twin)
    byIdentifier.set(resource.identifier, resource)
    const provider = resource.provider === null ? undefined : providers.get(resource.provider)
    if (provider !== undefined && !isBoundHost(provider, resource.upstream)) checkBinding(draft, resource, provider)
  }
}

function checkTwins(draft: Draft, resource: ResourceFields, twin: ResourceFields): void {
  const own = documentsOf(draft, 'Resource').find(({ body }) => body.name === resource.name)
  const document = own ?? documentsOf(draft, 'Resource').find(({ body }) => body.name === twin.name)
  const other = own === undefined ? resource : twin
  if (document !== undefined) blame(draft, document, 'identifier', `${resource.identifier} is the identifier of ${other.name} too`)
}

function checkBinding(draft: Draft, resource: ResourceFields, provider: ProviderFields): void {
  const host = URL.canParse(resource.upstream) ? new URL(resource.upstream).host : resource.upstream
  const message = `the upstream host ${host} of resource ${resource.name} is not among the hosts of provider ${provider.name}`
  const own = documentsOf(draft, 'Resource').find(({ body }) => body.name === resource.name)
  const document = own ?? documentsOf(draft, 'Provider').find(({ body }) => body.name === provider.name)
  if (document !== undefined) blame(draft, document, own === undefined ? 'hosts' : 'upstream', message)
}
