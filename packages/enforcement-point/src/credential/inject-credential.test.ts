import { newId, type Provider, type ProviderMethod } from '@caracal/core'
import { describe, expect, it } from 'vitest'
import { injectCredential, type UpstreamRequest } from './inject-credential.ts'

const request: UpstreamRequest = {
  protocol: 'https:',
  host: 'api.example',
  path: '/v1/x',
  query: '?a=1&key=client&b=%zz',
  headers: ['Accept', '*/*', 'X-Key', 'client', 'x_key', 'client'],
}
const providerFor = (method: ProviderMethod, hosts: string[]): Provider => ({
  ...method,
  id: newId('provider'),
  zone: newId('zone'),
  name: 'key',
  hosts,
  expiresAt: null,
  version: 1,
  createdAt: 0,
  updatedAt: 0,
})
const SECRET = 'canary-secret-0123456789'
const inject = (method: ProviderMethod, more: Partial<Provider> = {}, secret: string | null = SECRET, to = request) =>
  injectCredential(to, { ...providerFor(method, ['api.example']), ...more } as Provider, secret, 1_000)
const key = (name: string, prefix = ''): ProviderMethod => ({ kind: 'api_key', placement: { in: 'header', name, prefix } })

describe('injectCredential', () => {
  it('a key in a header replaces whatever the caller sent under that name [P-069]', () => {
    expect(inject(key('X-Key', 'Token '))).toEqual({
      ok: true,
      value: { query: request.query, headers: ['Accept', '*/*', 'X-Key', `Token ${SECRET}`], secrets: [SECRET] },
    })
  })

  it('a key in the query replaces the parameter of that name and touches no other byte [P-069]', () => {
    const method: ProviderMethod = { kind: 'api_key', placement: { in: 'query', name: 'key', insecure_query_credential: true } }
    const query = (text: string) => {
      const injected = inject(method, {}, 'a b/c-0123456', { ...request, query: text })
      return injected.ok && injected.value.query
    }
    expect(query('?a=1&key=client&b=%zz')).toBe('?a=1&b=%zz&key=a%20b%2Fc-0123456')
    expect(query('?key=x&k%65y=y&KEY=z')).toBe('?KEY=z&key=a%20b%2Fc-0123456')
    expect(query('')).toBe('?key=a%20b%2Fc-0123456')
    expect(query('?')).toBe('?key=a%20b%2Fc-0123456')
  })

  it('bearer and OAuth tokens become Authorization; basic is encoded and its encoded form is watched for too [P-070]', () => {
    expect(inject({ kind: 'bearer' })).toMatchObject({ value: { headers: [...request.headers, 'Authorization', `Bearer ${SECRET}`] } })
    const oauth: ProviderMethod = {
      kind: 'oauth2_client_credentials',
      tokenEndpoint: 'https://t.example/',
      clientId: 'c',
      clientAuthentication: 'client_secret_basic',
      scope: '',
      egressAllow: [],
    }
    expect(inject(oauth)).toMatchObject({ value: { headers: [...request.headers, 'Authorization', `Bearer ${SECRET}`] } })
    const pair = Buffer.from(`us er:${SECRET}`).toString('base64')
    const basic = inject({ kind: 'basic', username: 'us er' })
    expect(basic).toMatchObject({ value: { headers: [...request.headers, 'Authorization', `Basic ${pair}`] } })
    expect(basic.ok && basic.value.secrets).toEqual(expect.arrayContaining([SECRET, pair]))
  })

  it('without a provider, or with one of kind none, nothing is added', () => {
    const nothing = { ok: true, value: { query: request.query, headers: request.headers, secrets: [] } }
    expect(injectCredential(request, null, null, 1_000)).toEqual(nothing)
    expect(inject({ kind: 'none' }, { hosts: [] }, null)).toEqual(nothing)
  })

  it.each([
    ['https:', 'api.example', ['api.example'], true],
    ['https:', 'api.example', ['API.example:443'], true],
    ['http:', '127.0.0.1:8090', ['127.0.0.1:8090'], true],
    ['https:', 'api.example:8443', ['api.example'], false],
    ['https:', 'api.example', ['api.example:8443'], false],
    ['https:', 'evil.example', ['api.example'], false],
    ['https:', 'api.example.evil.example', ['api.example'], false],
    ['https:', 'sub.api.example', ['api.example'], false],
    ['https:', 'api.example', ['api.example/path', 'x@api.example', 'https://api.example', '*', ''], false],
    ['https:', 'api.example', [], false],
  ])('to %s//%s with a provider bound to %j: %s [P-078]', (protocol, host, hosts, allowed) => {
    for (const method of [key('X-Key'), { kind: 'bearer' }, { kind: 'basic', username: 'u' }] as const) {
      const injected = inject(method, { hosts }, SECRET, { ...request, protocol, host })
      if (allowed) expect(injected.ok).toBe(true)
      else expect(injected).toMatchObject({ ok: false, reason: 'upstream_not_allowed' })
    }
  })

  it.each([
    ['missing', key('X-Key'), {}, null],
    ['empty', key('X-Key'), {}, ''],
    ['expired', key('X-Key'), { expiresAt: 1_000 }, SECRET],
    ['with a line break', key('X-Key'), {}, 'a\r\nX-Evil: 1'],
    ['with a space at its end', { kind: 'bearer' }, {}, 'abc '],
    ['in a header that is not free', key('Host'), {}, SECRET],
    ['in a header of ours', key('X-Caracal-Key'), {}, SECRET],
    ['for a user with a colon', { kind: 'basic', username: 'a:b' }, {}, SECRET],
  ] as [string, ProviderMethod, Partial<Provider>, string | null][])('a credential that is %s: no call', (_name, method, more, secret) => {
    const injected = inject(method, more, secret)
    expect(injected).toMatchObject({ ok: false, reason: 'credential_unavailable' })
    expect(JSON.stringify(injected)).not.toContain(SECRET)
  })
})
