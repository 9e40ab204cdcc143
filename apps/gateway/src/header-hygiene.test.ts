import { headersForClient, headersForUpstream, isReservedForInjection, trailersForClient } from '@caracal/enforcement-point'
import { afterEach, describe, expect, it } from 'vitest'
import { type DataPath, rawCall, resourceFor, startDataPath, startRawUpstream } from './test-support/data-path.ts'

const REMOVED_UPWARDS = [
  'Connection',
  'Keep-Alive',
  'Proxy-Connection',
  'TE',
  'Trailer',
  'Transfer-Encoding',
  'Upgrade',
  'HTTP2-Settings',
  'Expect',
  'Host',
  'Authorization',
  'authorization',
  'AUTHORIZATION',
  'Proxy-Authorization',
  'Proxy-Authenticate',
  'Proxy-Anything',
  'X-API-Key',
  'x_api_key',
  'DPoP',
  'Forwarded',
  'X-Forwarded-For',
  'X-Forwarded-Host',
  'X-Forwarded-Proto',
  'X-Forwarded-Client-Cert',
  'X_Forwarded_For',
  'X-Real-IP',
  'X-Client-IP',
  'Client-Cert',
  'Client-Cert-Chain',
  'X-Client-Cert',
  'X-SSL-Client-Cert',
  'SSL-Client-Verify',
  'True-Client-IP',
  'X-Caracal-Resource',
  'X-Caracal-Approval',
  'X-Caracal-Anything',
  'x_caracal_decision',
  'Cookie',
  'Cookie2',
  'Api-Key',
  'ApiKey',
  'Remote-User',
  'X-Remote-User',
  'X-WebAuth-User',
  'X-Auth-Request-Email',
  'X-Authenticated-Userid',
  'CF-Connecting-IP',
  'Content_Type',
  'Content_Length',
  'Content_Encoding',
]
/** With these some upstreams serve another operation than the one that was decided on. */
const ANOTHER_OPERATION = [
  'X-HTTP-Method-Override',
  'x_http_method_override',
  'X-HTTP-Method',
  'X-Method-Override',
  'X-Original-URL',
  'X-Original-URI',
  'X-Original-Method',
  'X-Original-Host',
  'X-Rewrite-URL',
  'X-Envoy-Original-Path',
]
const KEPT_UPWARDS = [
  'Accept',
  'Accept-Encoding',
  'Content-Type',
  'Content-Length',
  'User-Agent',
  'X-Custom',
  'traceparent',
  'Range',
  'If-Match',
  'Idempotency-Key',
]

describe('headersForUpstream', () => {
  it.each(ANOTHER_OPERATION)('removes %s: the operation decided on is the one forwarded [P-063]', (name) => {
    expect(headersForUpstream([name, 'DELETE', 'Accept', '*/*'])).toEqual(['Accept', '*/*'])
  })

  it.each(REMOVED_UPWARDS)('removes %s [P-069]', (name) => {
    expect(headersForUpstream(['Accept', '*/*', name, 'value'])).toEqual(['Accept', '*/*'])
  })

  it('keeps everything else in order, spelling and number [P-069]', () => {
    const raw = [...KEPT_UPWARDS.flatMap((name) => [name, 'v']), 'x-custom', 'second', 'X-CUSTOM', 'third']
    expect(headersForUpstream(raw)).toEqual(raw)
  })

  it('removes what Connection names, in any of several lines, except what frames the message [P-069]', () => {
    const raw = [
      'connection',
      'close, X-Hop',
      'X-Hop',
      '1',
      'Connection',
      'x-other,content-length',
      'X-Other',
      '2',
      'Content-Length',
      '3',
      'X-Stay',
      '4',
    ]
    expect(headersForUpstream(raw)).toEqual(['Content-Length', '3', 'X-Stay', '4'])
  })

  it('says TE: trailers anew when the client said it, and nothing else of TE', () => {
    expect(headersForUpstream(['Connection', 'TE', 'TE', 'gzip;q=0.5, Trailers'])).toEqual(['TE', 'trailers'])
    expect(headersForUpstream(['TE', 'gzip'])).toEqual([])
  })

  it('cookies pass when opted in', () => {
    expect(headersForUpstream(['Cookie', 'a=b'], { cookies: true })).toEqual(['Cookie', 'a=b'])
  })

  it('an injected credential cannot use a name that frames, routes or is ours [P-069]', () => {
    for (const name of [
      'Host',
      'content-length',
      'Transfer-Encoding',
      'Connection',
      'Upgrade',
      'X-Caracal-Key',
      'x_caracal_key',
      'Proxy-Authorization',
      'TE',
      'Expect',
    ])
      expect(isReservedForInjection(name), name).toBe(true)
    for (const name of ['Authorization', 'X-API-Key', 'Private-Token', 'Cookie']) expect(isReservedForInjection(name), name).toBe(false)
  })
})

const place = {
  requestUrl: 'https://up.example:8443/v2/a/b?c=d',
  upstreamOrigin: 'https://up.example:8443',
  upstreamBase: '/v2',
  gatewayBase: '/r/notes',
}
const location = (value: string, more = {}) => headersForClient(['Location', value], 302, { ...place, ...more })[1] ?? null

describe('headersForClient', () => {
  it.each([
    'Connection',
    'Keep-Alive',
    'Transfer-Encoding',
    'Upgrade',
    'Trailer',
    'Proxy-Authenticate',
    'X-Caracal-Source',
    'X-Caracal-Decision',
    'x_caracal_revoked',
    'X-Request-Id',
    'Refresh',
    'Alt-Svc',
    'Set-Cookie',
  ])('removes %s [P-069] [P-070]', (name) => {
    expect(headersForClient(['ETag', '"x"', name, 'value'], 200, place)).toEqual(['ETag', '"x"'])
  })

  it('keeps repeated Set-Cookie apart when cookies are opted in [P-069]', () => {
    const raw = ['Set-Cookie', 'a=1; Path=/', 'set-cookie', 'b=2, c=3', 'X-A', '1', 'X-A', '2']
    expect(headersForClient(raw, 200, { ...place, cookies: true })).toEqual(raw)
    expect(headersForClient(raw, 200, place)).toEqual(['X-A', '1', 'X-A', '2'])
  })

  it('no length where there is no content', () => {
    expect(headersForClient(['Content-Length', '0'], 204, place)).toEqual([])
    expect(headersForClient(['Content-Length', '10'], 304, place)).toEqual(['Content-Length', '10'])
  })

  it.each([
    ['https://up.example:8443/v2/x?y=z#f', '/r/notes/x?y=z#f'],
    ['//up.example:8443/v2/x', '/r/notes/x'],
    ['/v2/x%2Fy', '/r/notes/x%2Fy'],
    ['/v2', '/r/notes'],
    ['c', '/r/notes/a/c'],
    ['?page=2', '/r/notes/a/b?page=2'],
    ['../x', '/r/notes/x'],
  ])('a Location of %s stays below the resource as %s [P-070]', (from, to) => {
    expect(location(from)).toBe(to)
  })

  it.each([
    'https://evil.example/v2/x',
    'http://up.example:8443/v2/x',
    'https://up.example/v2/x',
    'https://up.example:8443/other',
    'https://up.example:8443/v2x',
    'https://user:pw@up.example:8443/v2/x',
    '//evil.example/',
    '/other',
    '../../../admin',
    '/v2/../admin',
    '\\\\evil.example/x',
    'javascript:alert(1)',
    'http://',
  ])('a Location of %s is removed [P-070]', (from) => {
    expect(location(from)).toBeNull()
  })

  it('without a path of ours the client sees its own root, and no second host can hide in it [P-070]', () => {
    expect(location('https://up.example:8443/v2/x', { gatewayBase: '' })).toBe('/x')
    expect(location('https://up.example:8443/v2', { gatewayBase: '' })).toBe('/')
    expect(location('https://up.example:8443/v2//evil.example/', { gatewayBase: '' })).toBeNull()
  })

  it('trailers pass without what frames, routes, authenticates or is ours', () => {
    expect(
      trailersForClient([
        'X-Sum',
        '1',
        'Content-Length',
        '5',
        'X-Caracal-Revoked',
        'true',
        'Location',
        '/',
        'Set-Cookie',
        'a=b',
        'Transfer-Encoding',
        'chunked',
        'x-sum',
        '2',
      ]),
    ).toEqual([
      ['X-Sum', '1'],
      ['x-sum', '2'],
    ])
  })
})

describe('on the wire', () => {
  const opened: { close(): Promise<void> }[] = []
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one.close()
  })

  async function exchangeHeaders(
    requestHeaders: string,
    responseHeaders: string,
  ): Promise<{ sent: string; received: string; path: DataPath }> {
    let sent = ''
    const upstream = await startRawUpstream((socket) =>
      socket.once('data', (part) => {
        sent = part.toString('latin1')
        socket.write(`HTTP/1.1 302 Found\r\n${responseHeaders}Content-Length: 0\r\n\r\n`, 'latin1')
      }),
    )
    const path = await startDataPath({ resource: resourceFor(`${upstream.url}/base`) })
    opened.push(upstream, path)
    const received = await rawCall(
      path.port,
      `GET /r/notes/x HTTP/1.1\r\nHost: gw.example\r\nConnection: close, X-Hop\r\n${requestHeaders}\r\n`,
    )
    return { sent: sent.replaceAll(upstream.url.slice('http://'.length), 'UPSTREAM'), received, path }
  }

  it('the upstream gets its own Host and nothing of the caller that is not content [P-069]', async () => {
    const matrix = REMOVED_UPWARDS.filter(
      (name) => !/^(host|connection|upgrade|te|trailer|transfer-encoding|expect|http2-settings|x-caracal-resource)$/i.test(name),
    )
    const { sent } = await exchangeHeaders(
      `${matrix.map((name) => `${name}: caller\r\n`).join('')}X-Hop: 1\r\nX-Keep: a\r\nx-keep: b\r\n`,
      '',
    )
    expect(sent).toBe('GET /base/x HTTP/1.1\r\nhost: UPSTREAM\r\nconnection: keep-alive\r\nX-Keep: a\r\nx-keep: b\r\n\r\n')
  })

  it('the client gets nothing in our name that is not ours, and no way around the Gateway [P-069] [P-070]', async () => {
    const { received, path } = await exchangeHeaders(
      '',
      'X-Caracal-Decision: deny\r\nX-Caracal-Source: gateway\r\nX-Request-Id: theirs\r\nRefresh: 0; url=http://evil.example\r\nLocation: http://evil.example/\r\nAlt-Svc: h2="evil:443"\r\nX-Keep: a\r\nx-keep: b\r\n',
    )
    expect(received).toMatch(
      /^HTTP\/1\.1 302 Found\r\nX-Keep: a\r\nx-keep: b\r\nContent-Length: 0\r\nX-Request-Id: req_\w+\r\nX-Caracal-Decision: allow\r\nDate: [^\r]+\r\nConnection: close\r\n\r\n$/,
    )
    expect(path.exchanges).toHaveLength(1)
  })
})
