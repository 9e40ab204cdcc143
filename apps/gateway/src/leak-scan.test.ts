import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { LeakScan, SCANNED_BYTES } from '@caracal/enforcement-point'
import fc from 'fast-check'
import { request } from 'undici'
import { afterEach, describe, expect, it } from 'vitest'
import { providerFor, refusalOf, resourceFor, startDataPath, startUpstream } from './test-support/data-path.ts'

const SECRET = 'abacababacabad-secret'

function run(scan: LeakScan, chunks: readonly Buffer[]): { leaked: boolean; out: Buffer } {
  const out: Buffer[] = []
  for (const chunk of chunks) {
    const scanned = scan.take(chunk)
    if (scanned.leaked) return { leaked: true, out: Buffer.concat(out) }
    out.push(...scanned.pass)
  }
  const rest = scan.finish()
  return { leaked: false, out: Buffer.concat(rest === null ? out : [...out, rest]) }
}

describe('LeakScan', () => {
  it('finds a secret however it is cut into chunks, and lets it never get out whole [P-070]', () => {
    const text = fc
      .array(fc.constantFrom('a', 'b', 'c', 'ab', 'abac', 'secret', '-', '\n'), { maxLength: 30 })
      .map((parts) => parts.join(''))
    fc.assert(
      fc.property(
        text,
        text,
        fc.boolean(),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 40 }),
        (before, after, leaks, sizes) => {
          const whole = Buffer.from(before + (leaks ? SECRET : '') + after)
          const chunks: Buffer[] = []
          for (let at = 0, turn = 0; at < whole.length; turn++) {
            const size = sizes[turn % sizes.length] ?? 1
            chunks.push(whole.subarray(at, at + size))
            at += size
          }
          const { leaked, out } = run(new LeakScan([SECRET, 'another-secret']), chunks)
          expect(leaked).toBe(whole.includes(SECRET))
          expect(out.includes(SECRET)).toBe(false)
          if (!leaked) expect(out.equals(whole)).toBe(true)
          else expect(whole.subarray(0, out.length).equals(out)).toBe(true)
        },
      ),
    )
  })

  it('holds nothing back of what cannot be the beginning of a secret', () => {
    const scan = new LeakScan([SECRET])
    const event = Buffer.from('data: tick\n\n')
    expect(scan.take(event)).toEqual({ leaked: false, pass: [event] })
    expect(scan.finish()).toBeNull()
  })

  it('stops looking after 64 KiB and loses no byte at the border', () => {
    const scan = new LeakScan([SECRET])
    const chunks = [Buffer.alloc(SCANNED_BYTES - 3, 'x'), Buffer.from('ab'), Buffer.from('ac'), Buffer.from(SECRET)]
    const { leaked, out } = run(scan, chunks)
    expect(leaked).toBe(false)
    expect(out.equals(Buffer.concat(chunks))).toBe(true)
  })

  it('does not look for texts that stand in ordinary content by chance', () => {
    expect(new LeakScan(['admin', '']).active).toBe(false)
    expect(new LeakScan(['admin']).inHeaders(['Server', 'admin'])).toBe(false)
  })
})

describe('on the wire', () => {
  const opened: { close(): Promise<void> }[] = []
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one.close()
  })
  async function pathTo(listener: Parameters<typeof startUpstream>[0], method: object = { kind: 'bearer' }) {
    const upstream = await startUpstream(listener)
    const provider = providerFor(method, [new URL(upstream.url).host])
    const path = await startDataPath({ resource: resourceFor(upstream.url), provider, secret: SECRET })
    opened.push(upstream, path)
    return path
  }

  const echo =
    (how: (text: string) => string | Buffer) =>
    (req: { headers: NodeJS.Dict<string | string[]> }, res: { end(body: string | Buffer): void }) =>
      res.end(how(JSON.stringify(req.headers)))
  it.each([
    ['in the body', { kind: 'bearer' }, echo((text) => text)],
    ['in the body, behind 60 000 bytes', { kind: 'bearer' }, echo((text) => 'x'.repeat(60_000) + text)],
    ['as basic credentials', { kind: 'basic', username: 'agent' }, echo((text) => text)],
    [
      'in a header',
      { kind: 'bearer' },
      ((req, res) => res.writeHead(200, { 'x-echo': req.headers.authorization }).end()) as Parameters<typeof startUpstream>[0],
    ],
    [
      'in the reason phrase',
      { kind: 'bearer' },
      ((req, res) => res.writeHead(200, `OK ${req.headers.authorization}`).end('ok')) as Parameters<typeof startUpstream>[0],
    ],
    [
      'in a redirect, from the query',
      { kind: 'api_key', placement: { in: 'query', name: 'key', insecure_query_credential: true } },
      ((req, res) => res.writeHead(302, { location: req.url }).end()) as Parameters<typeof startUpstream>[0],
    ],
    [
      'in two pieces of a body of declared length',
      { kind: 'bearer' },
      ((_req, res) => {
        res.writeHead(200, { 'content-length': SECRET.length })
        res.write(SECRET.slice(0, 7), () => setImmediate(() => res.end(SECRET.slice(7))))
      }) as Parameters<typeof startUpstream>[0],
    ],
  ])('an injected credential that comes back %s is 502 and does not arrive [P-070]', async (_name, method, listener) => {
    const path = await pathTo(listener as Parameters<typeof startUpstream>[0], method)
    const answer = await request(`${path.url}/r/notes/x`)
    const text = await answer.body.text()
    expect({ status: answer.statusCode, code: JSON.parse(text).code }).toEqual(refusalOf('upstream_leaked_credential'))
    expect(JSON.stringify(answer.headers) + text).not.toContain(SECRET)
    const outcome = await path.outcome(0)
    expect(outcome).toMatchObject({ status: 502, interrupted: 'upstream_leaked_credential', bytes_out: 0 })
    expect(JSON.stringify(outcome)).not.toContain(SECRET)
  })

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
  ] as const)(
    'a credential that comes back compressed with %s is seen, and other compressed bytes pass as they are [P-070]',
    async (coding, compress) => {
      const path = await pathTo((req, res) => {
        const body = compress(Buffer.from(req.url === '/clean' ? 'clean '.repeat(50_000) : JSON.stringify(req.headers)))
        res.writeHead(200, { 'content-encoding': coding, ...(req.url === '/declared' ? { 'content-length': body.length } : {}) }).end(body)
      })
      for (const below of ['/chunked', '/declared']) expect((await request(`${path.url}/r/notes${below}`)).statusCode, below).toBe(502)
      const clean = await request(`${path.url}/r/notes/clean`)
      expect(clean.headers['content-encoding']).toBe(coding)
      expect(Buffer.from(await clean.body.arrayBuffer()).equals(compress(Buffer.from('clean '.repeat(50_000))))).toBe(true)
    },
  )

  it('an event stream is not delayed, and is cut before a credential gets out [P-070]', async () => {
    const release = Promise.withResolvers<void>()
    const path = await pathTo(async (req, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      res.write('data: one\n\n')
      await release.promise
      res.write('data: aba')
      res.end(`cababacabad${String(req.headers.authorization).slice(-7)}\n\n`)
    })
    const answer = await request(`${path.url}/r/notes/x`)
    const seen: string[] = []
    const reading = (async () => {
      for await (const part of answer.body) {
        seen.push(String(part))
        release.resolve()
      }
    })()
    await expect(reading).rejects.toThrow()
    expect(seen.join('')).toMatch(/^data: one\n\n(?:data: )?$/)
    expect(await path.outcome(0)).toMatchObject({ status: 200, interrupted: 'upstream_leaked_credential' })
  })

  it('the credential reaches the upstream and only there; what is clean comes back unchanged [P-069]', async () => {
    const got: (string | undefined)[] = []
    const path = await pathTo((req, res) => {
      got.push(req.headers.authorization)
      res.write('first ')
      setImmediate(() => res.end('second abac'))
    })
    const answer = await request(`${path.url}/r/notes/x`, { headers: { authorization: 'Bearer the-mandate' } })
    expect(await answer.body.text()).toBe('first second abac')
    expect(got).toEqual([`Bearer ${SECRET}`])
  })
})
