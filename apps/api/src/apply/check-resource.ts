import { isReservedIdentifier, looksLikeId, type Provider, type Resource } from '@caracal/core'
import { mcpOperationFault, parsePathTemplate } from '@caracal/enforcement'
import { priceFaults } from './check-budget.ts'
import { type Fault, isPlainUrl, rangeFaults } from './check-provider.ts'

type Checked = Pick<Resource, 'identifier' | 'upstream' | 'scopes' | 'operations' | 'egressAllow' | 'kind'>

/** What of a resource does not hold together by itself. */
export function resourceFaults(resource: Checked): readonly Fault[] {
  const faults: Fault[] = [...rangeFaults(resource.egressAllow, 'egressAllow'), ...priceFaults(resource.operations)]
  if (looksLikeId(resource.identifier)) faults.push({ field: 'identifier', message: 'must not look like an id' })
  if (isReservedIdentifier(resource.identifier)) faults.push({ field: 'identifier', message: 'is reserved for Caracal itself' })
  if (!URL.canParse(resource.identifier)) faults.push({ field: 'identifier', message: 'must be an absolute URI without fragment' })
  if (!isPlainUrl(resource.upstream)) faults.push({ field: 'upstream', message: 'must be a URL without credentials' })
  if (resource.operations.length === 0 && resource.scopes.length !== 1) {
    faults.push({ field: 'scopes', message: 'without operations a resource has exactly one scope, which every operation needs' })
  }
  const seen = new Set<string>()
  for (const [at, { method, path, scope }] of resource.operations.entries()) {
    const wrong = resource.kind === 'mcp' ? mcpOperationFault({ method, path }) : httpOperationFault({ method, path })
    if (wrong !== null) faults.push({ field: `operations[${at}].path`, message: wrong })
    if (!resource.scopes.includes(scope)) faults.push({ field: `operations[${at}].scope`, message: `${scope} is not among the scopes` })
    if (seen.has(`${method} ${path}`)) faults.push({ field: `operations[${at}]`, message: `${method} ${path} stands more than once` })
    seen.add(`${method} ${path}`)
  }
  return faults
}

/** Null: nothing is wrong. */
function httpOperationFault({ method, path }: { readonly method: string; readonly path: string }): string | null {
  if (!/^(?:\*|[A-Z]{1,32})$/.test(method)) return `not an HTTP method: ${method}`
  const template = parsePathTemplate(path)
  return template.ok ? null : (template.detail ?? 'is not a path template')
}

/** A credential goes only to hosts that its provider names (P-078): whether the upstream is one of them. */
export function isBoundHost(provider: Pick<Provider, 'hosts'>, upstream: string): boolean {
  if (!URL.canParse(upstream)) return true
  const { protocol, host } = new URL(upstream)
  return provider.hosts.some((bound) => URL.canParse(`${protocol}//${bound}`) && new URL(`${protocol}//${bound}`).host === host)
}
