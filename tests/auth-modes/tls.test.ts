import { execFile, execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gatewayConfiguration } from '@caracal/gateway'
import { freePort } from '@caracal/harness'
import { ConfigurationError } from '@caracal/service'
import { importPKCS8, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { authority, issued, type Made, openssl } from './certificates.ts'
import { type Answer, curl, fresh, type Ground, startGround } from './ground.ts'

let ground: Ground
let ca: Made
let server: Made
const file = (name: string) => join(ground.folder, name)

beforeAll(async () => {
  ground = await startGround()
  ca = authority(ground.folder, 'ca')
  server = issued(ground.folder, ca, 'localhost', { san: 'DNS:localhost', usage: 'serverAuth' })
})
afterAll(() => ground?.stop())

/** A Gateway with TLS on a port of its own. */
async function withTls(settings: Readonly<Record<string, string>>, { cert, key }: Made = server) {
  const listen = `127.0.0.1:${await freePort()}`
  return await ground.gateway({ GATEWAY_LISTEN: listen, TLS_CERT_FILE: cert, TLS_KEY_FILE: key, ...settings })
}

/** `openssl s_client`: what it says of the handshake. */
function handshake(url: string, ...args: string[]): Promise<string> {
  const given = ['s_client', '-connect', `127.0.0.1:${new URL(url).port}`, '-servername', 'localhost', ...args]
  return new Promise((resolve) => {
    const client = execFile('openssl', given, { encoding: 'utf8' }, (_error, stdout, stderr) => resolve(stdout + stderr))
    client.stdin?.end()
  })
}

/** How a listener presents itself, asked over TLS with nothing but its certificate to trust. */
const health = (url: string, trusting: string) => curl(`${url}/health`, ['--cacert', trusting])

describe('certificates made as the deployment’s page makes them', () => {
  let certs: string
  beforeAll(() => {
    certs = join(ground.folder, 'page/certs')
    mkdirSync(certs, { recursive: true })
    const run = (line: string) => execFileSync('bash', ['-c', line], { cwd: join(certs, '..'), stdio: ['ignore', 'ignore', 'pipe'] })
    run('openssl req -x509 -newkey rsa:4096 -keyout certs/server.key -out certs/server.crt -days 365 -nodes -subj "/CN=caracal-gateway"')
    run('openssl req -x509 -newkey rsa:4096 -keyout certs/ca.key -out certs/ca.crt -days 365 -nodes -subj "/CN=caracal-ca"')
    run('ssh-keygen -t rsa -b 4096 -m PEM -f certs/jwt_private.pem -N ""')
    run('openssl rsa -in certs/jwt_private.pem -pubout -out certs/jwt_public.pem')
    // Primes of that size take as long as they take.
  }, 600_000)

  test('[4-06] [4-12] [4-14] serve TLS, verify tokens and clients; /health needs no credential in any mode', async () => {
    const files = {
      TLS_CERT_FILE: join(certs, 'server.crt'),
      TLS_KEY_FILE: join(certs, 'server.key'),
      TLS_CA_FILE: join(certs, 'ca.crt'),
      JWT_PUBLIC_KEY_FILE: join(certs, 'jwt_public.pem'),
    }
    for (const mode of ['jwt', 'mtls', 'api_key', 'mandate']) {
      const gateway = await withTls({ ...files, AUTH_MODE: mode })
      for (const path of ['/health', '/ready', '/livez']) expect((await curl(gateway.tls + path, ['-k'])).status, mode).toBe(200)
      expect(await curl(`${gateway.tls}/r/lab/items/1`, ['-k', ...fresh()])).toMatchObject({ status: 401, code: 'unauthenticated' })
      // No alternative name: trusted by the file alone, under its one name.
      expect(
        (
          await curl(`https://caracal-gateway:${new URL(gateway.tls).port}/health`, [
            '--cacert',
            files.TLS_CERT_FILE,
            '--connect-to',
            `::127.0.0.1:`,
          ])
        ).status,
      ).toBe(200)
      if (mode === 'jwt') {
        openssl(certs, 'pkcs8 -topk8 -nocrypt -in jwt_private.pem -out jwt_pkcs8.pem')
        const key = await importPKCS8(readFileSync(join(certs, 'jwt_pkcs8.pem'), 'utf8'), 'RS256')
        const token = await new SignJWT({ sub: 'agent' }).setProtectedHeader({ alg: 'RS256' }).setExpirationTime('1m').sign(key)
        const answer = await curl(`${gateway.tls}/r/lab/items/1`, ['-k', '-H', `Authorization: Bearer ${token}`, ...fresh()])
        expect(answer).toMatchObject({ status: 200, text: 'from the upstream' })
      }
      if (mode === 'mtls') {
        const client = issued(certs, { cert: files.TLS_CA_FILE, key: join(certs, 'ca.key') }, 'client')
        const made = await bind('agent', 'by page', 'subject:CN=client')
        expect(await curl(`${gateway.tls}/r/lab/items/1`, ['-k', '--cert', client.cert, '--key', client.key, ...fresh()])).toMatchObject({
          status: 200,
        })
        await unbind('agent', made)
      }
    }
  })
})

const bind = async (application: string, name: string, certificate: string, more: object = {}) => {
  const path = `/applications/${ground.applications[application]}/keys`
  const made = await ground.api('POST', path, { kind: 'certificate', name: name.replaceAll(' ', '-'), certificate, ...more })
  if (made.status !== 201) throw new Error(JSON.stringify(made))
  return String(made.body.id)
}
const unbind = (application: string, id: string) => ground.api('DELETE', `/applications/${ground.applications[application]}/keys/${id}`)
const thumbprint = ({ cert }: Made) =>
  `sha256:${execFileSync('openssl', ['x509', '-in', cert, '-noout', '-fingerprint', '-sha256'], { encoding: 'utf8' }).split('=')[1]?.trim().replaceAll(':', '').toLowerCase()}`

describe('AUTH_MODE=mtls', () => {
  let gateway: Awaited<ReturnType<typeof withTls>>
  const call = (by: Made | null, more: readonly string[] = [], path = '/items/1'): Promise<Answer> =>
    curl(`${gateway.tls}/r/lab${path}`, [
      '--cacert',
      ca.cert,
      ...(by === null ? [] : ['--cert', by.cert, '--key', by.key]),
      ...fresh(),
      ...more,
    ])

  beforeAll(async () => {
    gateway = await withTls({ AUTH_MODE: 'mtls', TLS_CA_FILE: ca.cert })
  })

  test('[4-14] a certificate stands for its application: by thumbprint, subject or alternative name, EC, RSA and Ed25519', async () => {
    const spiffe = 'spiffe://lab.example/ns/agents/sa/agent'
    const table: readonly [made: Made, name: string][] = [
      [issued(ground.folder, ca, 'by-print'), ''],
      [issued(ground.folder, ca, 'by-subject', { subject: '/CN=agent/O=Example, Inc.', key: 'rsa' }), 'subject:CN=agent,O=Example\\, Inc.'],
      [issued(ground.folder, ca, 'by-dns', { san: 'DNS:agent.example', key: 'ed25519' }), 'dns:agent.example'],
      [issued(ground.folder, ca, 'by-uri', { san: `URI:${spiffe}` }), `uri:${spiffe}`],
    ]
    for (const [made, name] of table) {
      const id = await bind('agent', `t ${name.length}`, name === '' ? thumbprint(made) : name)
      const answer = await call(made, [], '/bound')
      expect(answer, name).toMatchObject({ status: 200, text: 'from the upstream' })
      expect(await ground.event(answer, 'call.allowed')).toMatchObject({
        actor: { application: ground.applications.agent },
        credential: { kind: 'mtls', id },
      })
      expect((await unbind('agent', id)).status).toBe(204)
      expect((await call(made)).status, name).toBe(401)
    }
  })

  test('[4-14] [P-074] any other certificate, none, and one in a header are refused, and nothing goes out', async () => {
    const other = authority(ground.folder, 'other-ca')
    const twin = authority(ground.folder, 'twin-ca', '/CN=ca')
    const good = issued(ground.folder, ca, 'good')
    const id = await bind('agent', 'good', 'subject:CN=good')
    const unbound = issued(ground.folder, ca, 'unbound')
    const past = issued(ground.folder, ca, 'past', { subject: '/CN=good', from: '20200101000000Z', to: '20200201000000Z' })
    const coming = issued(ground.folder, ca, 'coming', { subject: '/CN=good', from: '20900101000000Z' })
    const wrong: [what: string, by: Made | null, more: string[], code: string][] = [
      ['none', null, [], 'unauthenticated'],
      ['of another authority', issued(ground.folder, other, 'foreign', { subject: '/CN=good' }), [], 'invalid_client'],
      ['of an authority with the same name', issued(ground.folder, twin, 'twin', { subject: '/CN=good' }), [], 'invalid_client'],
      ['self-signed with the same subject', authority(ground.folder, 'self', '/CN=good'), [], 'invalid_client'],
      ['self-signed on RSA', issued(ground.folder, other, 'rsa', { subject: '/CN=good', key: 'rsa' }), [], 'invalid_client'],
      ['expired', past, [], 'invalid_client'],
      ['not yet valid', coming, [], 'invalid_client'],
      ['for servers', issued(ground.folder, ca, 'server-only', { subject: '/CN=good', usage: 'serverAuth' }), [], 'invalid_client'],
      ['bound to nobody', unbound, [], 'invalid_client'],
      ['a subject that only begins alike', issued(ground.folder, ca, 'longer', { subject: '/CN=good/O=x' }), [], 'invalid_client'],
    ]
    const pem = encodeURIComponent(readFileSync(good.cert, 'utf8'))
    const headers = [
      `X-Forwarded-Client-Cert: Cert="${pem}";Subject="CN=good"`,
      `X-SSL-Client-Cert: ${pem}`,
      `SSL-Client-Cert: ${pem}`,
      `Client-Cert: :${Buffer.from(pem).toString('base64')}:`,
      'X-SSL-Client-Verify: SUCCESS',
      'X-SSL-Client-S-DN: CN=good',
    ]
    for (const header of headers) {
      wrong.push([header, null, ['-H', header], 'unauthenticated'], [header, unbound, ['-H', header], 'invalid_client'])
    }
    const before = ground.upstream.seen.length
    const refused = await Promise.all(wrong.map(([, by, more]) => call(by, more)))
    for (const [at, [what, , , code]] of wrong.entries()) expect(refused[at], what).toMatchObject({ status: 401, code })
    expect(ground.upstream.seen).toHaveLength(before)
    expect((await call(good)).status).toBe(200)
    // Without TLS there is no certificate.
    expect(await curl(`${gateway.address.url}/r/lab/items/1`, fresh())).toMatchObject({ status: 401, code: 'unauthenticated' })
    await unbind('agent', id)
  })

  test('[4-14] a certificate that two applications claim proves neither; a binding ends when it expires or is revoked', async () => {
    const made = issued(ground.folder, ca, 'claimed')
    const first = await bind('agent', 'claimed', 'subject:CN=claimed')
    const second = await bind('other', 'claimed', thumbprint(made))
    expect(await call(made)).toMatchObject({ status: 401, code: 'invalid_client' })
    await unbind('other', second)
    await expect.poll(async () => (await call(made)).status).toBe(200)
    const running = call(made, ['-N'], '/stream')
    await expect.poll(() => ground.upstream.seen.filter(({ url }) => url === '/stream').length).toBe(1)
    await unbind('agent', first)
    expect((await running).text).toContain('begun')
    expect((await call(made)).status).toBe(401)
    await bind('agent', 'brief', 'subject:CN=claimed', { expiresAt: Date.now() + 1_500 })
    await expect.poll(async () => (await call(made)).code).toBe('invalid_client')
  })

  test('[4-14] [P-074] only this mode asks for a certificate, and probes need none', async () => {
    expect(await handshake(gateway.tls)).toContain('Acceptable client certificate CA names')
    expect(await health(gateway.tls, ca.cert)).toMatchObject({ status: 200 })
    const other = await withTls({ AUTH_MODE: 'api_key', TLS_CA_FILE: ca.cert })
    expect(await handshake(other.tls)).toContain('No client certificate CA names sent')
    expect(await health(other.tls, ca.cert)).toMatchObject({ status: 200 })
  })

  test('[4-07] new authorities count at once, also for connections that stand', async () => {
    const [next, authorities] = [authority(ground.folder, 'next-ca'), file('authorities.crt')]
    copyFileSync(ca.cert, authorities)
    const there = await withTls({ AUTH_MODE: 'mtls', TLS_CA_FILE: authorities })
    const [old, young] = [issued(ground.folder, ca, 'old'), issued(ground.folder, next, 'young', { subject: '/CN=old' })]
    await bind('agent', 'old', 'subject:CN=old')
    const statusOf = async ({ cert, key }: Made) =>
      (await curl(`${there.tls}/r/lab/items/1`, ['--cacert', ca.cert, '--cert', cert, '--key', key, ...fresh()])).status
    expect([await statusOf(old), await statusOf(young)]).toEqual([200, 401])
    copyFileSync(next.cert, `${authorities}.new`)
    renameSync(`${authorities}.new`, authorities)
    await expect.poll(async () => [await statusOf(old), await statusOf(young)], { interval: 300 }).toEqual([401, 200])
  })
})

describe('TLS of the Gateway', () => {
  test('[4-07] a new certificate and key are served without a restart, and the gauge says when they end', async () => {
    const [cert, key] = [file('live.crt'), file('live.key')]
    const use = (made: Made) => {
      for (const [from, to] of [
        [made.cert, cert],
        [made.key, key],
      ] as const) {
        copyFileSync(from, `${to}.new`)
        renameSync(`${to}.new`, to)
      }
    }
    use(server)
    const gateway = await withTls({ AUTH_MODE: 'api_key' }, { cert, key })
    const served = async () => /subject=CN = (\S+)/.exec(await handshake(gateway.tls))?.[1]
    const ends = async () => {
      const text = await (await fetch(`${gateway.metricsAddress?.url}/metrics`)).text()
      return Number(/caracal_tls_not_after_seconds\{certificate="server"\} (\S+)/.exec(text)?.[1])
    }
    const endOf = ({ cert: path }: Made) =>
      Date.parse(String(execFileSync('openssl', ['x509', '-in', path, '-noout', '-enddate'], { encoding: 'utf8' }).split('=')[1])) / 1000
    expect(await served()).toBe('localhost')
    expect(await ends()).toBe(endOf(server))
    // A certificate without its key is not used.
    const next = issued(ground.folder, ca, 'next', {
      san: 'DNS:localhost',
      usage: 'serverAuth',
      to: '20300101000000Z',
      from: '20260101000000Z',
    })
    copyFileSync(next.cert, `${cert}.new`)
    renameSync(`${cert}.new`, cert)
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    expect(await served()).toBe('localhost')
    use(next)
    await expect.poll(served, { interval: 300 }).toBe('next')
    expect(await ends()).toBe(endOf(next))
  })

  test('TLS 1.2 and 1.3 are spoken, nothing older', async () => {
    const gateway = await withTls({ AUTH_MODE: 'api_key' })
    expect(await handshake(gateway.tls, '-tls1_2')).toContain('Protocol  : TLSv1.2')
    expect(await handshake(gateway.tls, '-tls1_3')).toContain('TLSv1.3')
    expect(await handshake(gateway.tls, '-tls1_1', '-cipher', 'ALL:@SECLEVEL=0')).toContain('Cipher is (NONE)')
  })

  test('where its address is that of HOST and PORT there is no listener without it', async () => {
    const port = String(await freePort())
    const gateway = await withTls({ AUTH_MODE: 'api_key', PORT: port, GATEWAY_LISTEN: `127.0.0.1:${port}` })
    expect(gateway.address.url).toBe(`https://127.0.0.1:${port}`)
    expect(await health(gateway.tls, ca.cert)).toMatchObject({ status: 200 })
    expect((await curl(`http://127.0.0.1:${port}/health`)).status).not.toBe(200)
  })

  test('[4-08] [4-14] what is missing, broken or does not fit together is named at the start', () => {
    const broken = file('broken.pem')
    execFileSync('bash', ['-c', `echo nothing > ${broken}`])
    openssl(ground.folder, 'genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass pass:secret -out locked.key')
    openssl(ground.folder, 'pkey -in ca.key -pubout -out ec.pem')
    const tls = { TLS_CERT_FILE: server.cert, TLS_KEY_FILE: server.key }
    const table: readonly [what: string, settings: Readonly<Record<string, string>>, names: RegExp][] = [
      ['an unknown mode', { AUTH_MODE: 'basic' }, /AUTH_MODE must be one of mandate, jwt, mtls, api_key/],
      ['no certificate', { ...tls, TLS_CERT_FILE: file('none.crt') }, /TLS_CERT_FILE cannot be read/],
      ['no key', { ...tls, TLS_KEY_FILE: file('none.key') }, /TLS_KEY_FILE cannot be read/],
      ['a certificate alone', { TLS_CERT_FILE: server.cert }, /TLS_KEY is required for TLS/],
      ['a broken certificate', { ...tls, TLS_CERT_FILE: broken }, /TLS_CERT must be PEM certificates/],
      ['a broken key', { ...tls, TLS_KEY_FILE: broken }, /TLS_KEY must be a private key/],
      [
        'a key behind a passphrase',
        { ...tls, TLS_KEY_FILE: file('locked.key') },
        /TLS_KEY must be a private key in PEM without a passphrase/,
      ],
      ['the key of another', { ...tls, TLS_KEY_FILE: ca.key }, /TLS_KEY is not the key of the first certificate/],
      ['an address without TLS', { GATEWAY_LISTEN: '0.0.0.0:8443' }, /TLS_CERT is required for the listener of GATEWAY_LISTEN/],
      ['an address without a port', { ...tls, GATEWAY_LISTEN: '0.0.0.0' }, /GATEWAY_LISTEN must be an address and a port/],
      ['no authority of clients', { ...tls, AUTH_MODE: 'mtls', TLS_CA_FILE: file('none.crt') }, /TLS_CA is required with AUTH_MODE=mtls/],
      ['mtls without TLS', { AUTH_MODE: 'mtls', TLS_CA_FILE: ca.cert }, /TLS_CERT is required with AUTH_MODE=mtls/],
      ['no public key', { AUTH_MODE: 'jwt', JWT_PUBLIC_KEY_FILE: file('none.pem') }, /JWT_PUBLIC_KEY is required with AUTH_MODE=jwt/],
      ['a broken public key', { AUTH_MODE: 'jwt', JWT_PUBLIC_KEY_FILE: broken }, /JWT_PUBLIC_KEY must be public keys in PEM/],
      ['a private key', { AUTH_MODE: 'jwt', JWT_PUBLIC_KEY_FILE: ca.key }, /JWT_PUBLIC_KEY holds a private key/],
      ['a key of another algorithm', { AUTH_MODE: 'jwt', JWT_PUBLIC_KEY_FILE: file('ec.pem') }, /JWT_PUBLIC_KEY must be an RSA key/],
      ['HMAC', { AUTH_MODE: 'jwt', JWT_ALGORITHM: 'HS256' }, /JWT_ALGORITHM must be one of/],
      ['none', { AUTH_MODE: 'jwt', JWT_ALGORITHM: 'none' }, /JWT_ALGORITHM must be one of/],
      [
        'nonces that are forgotten too soon',
        { REPLAY_WINDOW: '300s', REPLAY_NONCE_TTL: '359s' },
        /REPLAY_NONCE_TTL must be at least REPLAY_WINDOW and 60s \(6m\)/,
      ],
    ]
    for (const [what, settings, names] of table) {
      const start = () => gatewayConfiguration.parse({ ...ground.environment, DATABASE_URL: undefined, ...settings })
      expect(start, what).toThrow(ConfigurationError)
      expect(start, what).toThrow(names)
    }
    // What the mode does not use may be absent.
    const unused = { TLS_CA_FILE: file('none.crt'), JWT_PUBLIC_KEY_FILE: file('none.pem') }
    expect(() =>
      gatewayConfiguration.parse({ ...ground.environment, DATABASE_URL: undefined, ...tls, ...unused, AUTH_MODE: 'api_key' }),
    ).not.toThrow()
    expect(statSync(server.key).isFile()).toBe(true)
  })
})
