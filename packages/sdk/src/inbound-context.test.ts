import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Caracal } from './caracal.ts'
import { CaracalError } from './caracal-error.ts'
import { foreignBaggage, inboundContext } from './inbound-context.ts'
import type { VerifiedMandate } from './verify-mandate.ts'

const FORGED = 'caracal.session=ses_forged,tenant=blue,Caracal.application=app_forged;x=1,%63aracal.mandate=mnd_forged, caracal=1'
const verified: VerifiedMandate = {
  application: 'app_real',
  subject: 'app_real',
  scopes: ['a'],
  id: 'mnd_real',
  transaction: 'txn_real',
  sessions: ['ses_real'],
  delegations: [],
  expiresAt: 0,
}
const verify = async (token: string) => {
  if (token === 'good') return verified
  throw new CaracalError('no', { code: 'invalid_token', status: 401 })
}

describe('[P-150] who calls is what the verified mandate says, and nothing else', () => {
  test('forged baggage without a bearer: nobody we know, and no member in our name', async () => {
    const found = await inboundContext({ baggage: FORGED, 'x-caracal-session': 'ses_forged' }, verify)
    expect(found).toEqual({ mandate: undefined, baggage: 'tenant=blue' })
  })

  test('forged baggage beside a bearer: the mandate’s ids, and no member in our name', async () => {
    const found = await inboundContext(new Headers({ authorization: 'Bearer good', baggage: FORGED }), verify)
    expect(found).toEqual({ mandate: verified, baggage: 'tenant=blue' })
    expect(JSON.stringify(found)).not.toContain('forged')
  })

  test('a bearer that does not verify is refused, not taken for none', async () => {
    await expect(inboundContext({ authorization: 'bearer forged', baggage: FORGED }, verify)).rejects.toMatchObject({ status: 401 })
  })

  test('whatever stands around it, no member in our name is left, and every other one is', () => {
    const foreign = fc.stringMatching(/^[abd-z][a-z]{0,5}=[a-z0-9]{0,5}$/)
    const ours = fc.constantFrom('caracal.session=x', 'CARACAL.x=1', 'caracal-id=2', '%43aracal.x=3', 'caracal', 'caracal.a;p=1')
    fc.assert(
      fc.property(fc.array(fc.oneof(foreign, ours), { maxLength: 40 }), fc.constantFrom(',', ' , ', ',\t'), (members, comma) => {
        const kept = members.filter((member) => !/^(?:c|%43)aracal/i.test(member))
        expect(foreignBaggage(members.join(comma))).toBe(kept.length === 0 ? undefined : kept.join(','))
      }),
    )
  })

  test('[P-154] at most 64 members and 8 KiB are handed on; repeated headers are one list', async () => {
    const many = Array.from({ length: 100 }, (_, at) => `k${at}=v`)
    expect(foreignBaggage(many.join(','))?.split(',')).toHaveLength(64)
    expect(foreignBaggage(`a=${'x'.repeat(8_100)},b=${'y'.repeat(200)}`)).toMatch(/^a=x+$/)
    expect((await inboundContext({ baggage: ['a=1', 'caracal.x=1', 'b=2'] }, verify)).baggage).toBe('a=1,b=2')
  })
})

describe('[P-150] our ids go to the Gateway only', () => {
  const seen: { at: string; headers: IncomingHttpHeaders }[] = []
  const servers: Server[] = []
  const place = async (at: string, respond: (path: string) => [number, Record<string, string>, string]) => {
    const server = createServer((request, response) => {
      request.resume()
      seen.push({ at, headers: request.headers })
      const [status, headers, body] = respond(request.url ?? '')
      response.writeHead(status, headers).end(body)
    })
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  let third: string
  let gateway: string
  let sts: string

  beforeAll(async () => {
    third = await place('third party', () => [200, {}, '{}'])
    gateway = await place('gateway', (path) => (path === '/away' ? [307, { location: `${third}/x` }, ''] : [200, {}, '{}']))
    const token = JSON.stringify({ access_token: 'mandate-of-ours', expires_in: 300, scope: 'a' })
    sts = await place('sts', () => [200, { 'content-type': 'application/json' }, token])
  })
  afterAll(() => {
    for (const server of servers) server.close()
  })

  test('a third party that is called beside it, or that a redirect names, sees no mandate, no secret and no id', async () => {
    const caracal = new Caracal({
      stsUrl: sts,
      gatewayUrl: gateway,
      clientId: 'app_ours',
      authentication: { clientSecret: 'secret-of-ours' },
    })
    const session = 'ses_ours'
    await caracal.fetch('https://r.example/', '/x', { session })
    const redirected = await caracal.fetch('https://r.example/', '/away', { session, redirect: 'follow' })
    expect(redirected.status).toBe(307)
    await fetch(`${third}/beside`)
    const at = (where: string) => JSON.stringify(seen.filter((one) => one.at === where))
    expect(at('gateway')).toContain('mandate-of-ours')
    expect(seen.filter((one) => one.at === 'third party')).toHaveLength(1)
    expect(at('third party')).not.toMatch(/ours|caracal|authorization|baggage/i)
    expect(at('gateway')).not.toContain('secret-of-ours')
  })
})
