import { isIP } from 'node:net'
import type { Placement, ProviderMethod } from '@caracal/core'
import type { ProviderDocument } from './document-schemas.ts'

/** What is wrong with one document beyond its shape: which field, and in words. */
export type Fault = { readonly field: string; readonly message: string }

/** Header names that carry framing or identity of the hop: no credential stands there. */
const RESERVED_HEADER =
  /^(?:host|connection|content-length|transfer-encoding|upgrade|te|trailer|keep-alive|proxy-.*|x-caracal-.*|forwarded|x-forwarded-.*|expect)$/i

type Given = Omit<ProviderDocument, 'kind' | 'zone' | 'name' | 'secret'>

/** The method of a provider, or everything that does not fit it: each method needs its own members and takes no others. */
export function providerMethod(given: Given): { readonly method: ProviderMethod | undefined; readonly faults: readonly Fault[] } {
  const faults: Fault[] = []
  const { method, placement, username, tokenEndpoint, clientId, clientAuthentication, scope, egressAllow } = given
  const belongs = (field: keyof Given, to: ProviderDocument['method'], needed: boolean) => {
    const there = given[field] !== undefined
    if (method === to && needed && !there) faults.push({ field, message: `is required with method ${to}` })
    if (method !== to && there) faults.push({ field, message: `is for method ${to} only` })
  }
  belongs('placement', 'api_key', true)
  belongs('username', 'basic', true)
  belongs('tokenEndpoint', 'oauth2_client_credentials', true)
  belongs('clientId', 'oauth2_client_credentials', true)
  belongs('clientAuthentication', 'oauth2_client_credentials', false)
  belongs('scope', 'oauth2_client_credentials', false)
  belongs('egressAllow', 'oauth2_client_credentials', false)
  faults.push(...rangeFaults(egressAllow ?? [], 'egressAllow'))
  if (tokenEndpoint !== undefined && !isPlainUrl(tokenEndpoint))
    faults.push({ field: 'tokenEndpoint', message: 'must be a URL without credentials and fragment' })
  const placed = placement === undefined ? undefined : placementOf(placement, faults)
  if (faults.length > 0) return { method: undefined, faults }
  switch (method) {
    case 'none':
    case 'bearer':
      return { method: { kind: method }, faults }
    case 'api_key':
      return { method: placed === undefined ? undefined : { kind: 'api_key', placement: placed }, faults }
    case 'basic':
      return { method: { kind: 'basic', username: username ?? '' }, faults }
    case 'oauth2_client_credentials':
      return {
        method: {
          kind: 'oauth2_client_credentials',
          tokenEndpoint: tokenEndpoint ?? '',
          clientId: clientId ?? '',
          clientAuthentication: clientAuthentication ?? 'client_secret_basic',
          scope: scope ?? '',
          egressAllow: egressAllow ?? [],
        },
        faults,
      }
  }
}

function placementOf(given: NonNullable<ProviderDocument['placement']>, faults: Fault[]): Placement | undefined {
  if (given.in === 'header') {
    if (given.insecure_query_credential !== undefined)
      faults.push({ field: 'placement.insecure_query_credential', message: 'is for a query placement only' })
    if (RESERVED_HEADER.test(given.name)) faults.push({ field: 'placement.name', message: 'is a header that no credential may stand in' })
    return { in: 'header', name: given.name, prefix: given.prefix ?? '' }
  }
  if (given.prefix !== undefined) faults.push({ field: 'placement.prefix', message: 'is for a header placement only' })
  if (given.insecure_query_credential !== true) {
    faults.push({
      field: 'placement.insecure_query_credential',
      message: 'must be true: a credential in a query stands in logs of whoever it passes',
    })
  }
  return { in: 'query', name: given.name, insecure_query_credential: true }
}

/** Address ranges as `address/bits`. */
export function rangeFaults(ranges: readonly string[], field: string): Fault[] {
  return ranges.flatMap((range, at) => {
    const [address = '', bits = ''] = range.split('/')
    const family = isIP(address)
    const most = family === 4 ? 32 : 128
    return family !== 0 && Number(bits) <= most ? [] : [{ field: `${field}[${at}]`, message: 'is not an address range such as 10.0.0.0/8' }]
  })
}

/** An absolute http or https URL that names no user. */
export function isPlainUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const url = new URL(text)
  return /^https?:$/.test(url.protocol) && url.username === '' && url.password === '' && url.hash === ''
}
