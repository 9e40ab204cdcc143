import { Agent, createServer, request } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { getHeapStatistics } from 'node:v8'
import { freshDatabaseUrl, startRedis } from '@caracal/harness'
import type { RunningService } from '@caracal/service'
import { openWorld } from '../../apps/sts/src/test-support/world.ts'
import { sharedKeys, startGatewayBeside } from '../attacks/gateway-beside.ts'

/** What one of them costs, in things that are counted and not timed: they are the same on a machine that is slow or busy. */
export type Costs = Readonly<Record<string, number>>

/** So often before anything is counted: everything is connected, compiled and remembered. */
const WARM = 800
/** A round of what is counted; the cheapest of several counts, since what else goes on in the process only adds. */
const ROUND = 300
const ROUNDS = 3
/** Under way at once. */
const AT_ONCE = 8

const ANSWER = Buffer.alloc(1_024, 'a')
const EVERYTHING = 'kind: Policy\nname: all\nrules:\n  - { id: all, allow: ["*"], on: ["*"], for: { any: true } }\n'

/** Mints, calls with one mandate, and pairs of a single-use mandate and its call, through an STS and a Gateway on Postgres and Redis. */
export async function countCosts(): Promise<Costs> {
  const redis = await startRedis()
  const keys = sharedKeys()
  // On a machine that is busy nothing is refused for being late.
  const settings = { ...keys, REVOCATION_MAX_AGE: '60s' }
  const world = await openWorld({
    driver: 'redis',
    redisUrl: `${redis.url}/0`,
    databaseUrl: await freshDatabaseUrl(),
    environment: settings,
  })
  const heard = { requests: 0, headerBytes: 0 }
  const upstream = createServer((message, response) => {
    heard.requests += 1
    heard.headerBytes += message.rawHeaders.reduce((sum, text) => sum + text.length, 0)
    response.end(ANSWER)
  })
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  const started: { gateway?: RunningService } = {}
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
  try {
    const { id: zone } = await world.zone()
    await world.policy(zone, EVERYTHING)
    const host = `127.0.0.1:${(upstream.address() as AddressInfo).port}`
    const application = await world.application(zone)
    const provider = await world.provider(zone, { kind: 'bearer' }, 'key-of-the-upstream', { hosts: [host] })
    const resource = await world.resource(zone, {
      name: 'items',
      upstream: `http://${host}`,
      provider: provider.id,
      egressAllow: ['127.0.0.0/8'],
      scopes: ['use'],
    })
    const gateway = await startGatewayBeside(world, { ...settings, APPLICATION_RATE: '0' })
    started.gateway = gateway
    const basic = Buffer.from(`${application.id}:${application.secret}`).toString('base64')
    const form = (more: Readonly<Record<string, string>>) =>
      new URLSearchParams({ grant_type: 'client_credentials', resource: resource.identifier, scope: 'use', ...more }).toString()
    const mint = async (more: Readonly<Record<string, string>> = {}) => {
      const headers = { authorization: `Basic ${basic}`, 'content-type': 'application/x-www-form-urlencoded' }
      const answer = JSON.parse(await send(agent, `${world.sts.address.url}/oauth/2/token`, headers, form(more))) as {
        access_token: string
      }
      return answer.access_token
    }
    const call = (mandate: string) =>
      send(agent, `${gateway.address.url}/r/items/things/17`, { authorization: `Bearer ${mandate}` }).then(() => undefined)
    const held = await mint()
    const works = {
      mint: async () => void (await mint()),
      call: () => call(held),
      pair: async () => call(await mint({ once: 'true' })),
    }
    const counted = async (work: () => Promise<void>) => {
      const [sent, asked, before] = [heard.headerBytes, world.database.statements(), await commandsOf(redis.port)]
      await many(work, WARM)
      const rounds: number[] = []
      for (let round = 0; round < ROUNDS; round += 1) {
        const bytes = getHeapStatistics().total_allocated_bytes
        await many(work, ROUND)
        rounds.push((getHeapStatistics().total_allocated_bytes - bytes) / ROUND)
      }
      const all = WARM + ROUNDS * ROUND
      const after = await commandsOf(redis.port)
      return {
        allocated: Math.round(Math.min(...rounds)),
        statements: (world.database.statements() - asked) / all,
        claims: ((after.get('set') ?? 0) - (before.get('set') ?? 0)) / all,
        headers: Math.round((heard.headerBytes - sent) / all),
      }
    }
    const [minted, called, paired] = [await counted(works.mint), await counted(works.call), await counted(works.pair)]
    return {
      'bytes allocated for a mint, its client among them': minted.allocated,
      'bytes allocated for a call, its client and upstream among them': called.allocated,
      'bytes allocated for a single-use mandate and its call': paired.allocated,
      // What goes on beside them is a statement now and then.
      'statements of Postgres for a mint': Math.round(minted.statements),
      'statements of Postgres for a call': Math.round(called.statements),
      'statements of Postgres for a pair': Math.round(paired.statements),
      'claims in Redis for a call with a mandate for several': Math.round(called.claims),
      'claims in Redis for a single-use mandate': Math.round(paired.claims),
      'bytes of headers that the upstream gets': called.headers,
    }
  } finally {
    agent.destroy()
    await started.gateway?.stop()
    await world.close()
    upstream.close()
    await redis.stop()
  }
}

async function many(work: () => Promise<void>, times: number): Promise<void> {
  let left = times
  const worker = async () => {
    while (left > 0) {
      left -= 1
      await work()
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

/** POSTs when there is a body; the text of the answer, which must be 200. */
function send(agent: Agent, url: string, headers: Readonly<Record<string, string>>, body?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const going = request(url, { agent, method: body === undefined ? 'GET' : 'POST', headers }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (chunk) => {
        text += chunk
      })
      answer.once('error', reject)
      answer.once('end', () => (answer.statusCode === 200 ? resolve(text) : reject(new Error(`${url}: ${answer.statusCode} ${text}`))))
    })
    going.once('error', reject)
    going.end(body)
  })
}

/** How often Redis has executed each command. */
function commandsOf(port: number): Promise<ReadonlyMap<string, number>> {
  return new Promise((resolve, reject) => {
    let said = ''
    const socket = connect(port, '127.0.0.1', () => socket.write('INFO commandstats\r\nQUIT\r\n'))
    socket.once('error', reject)
    socket.on('data', (data) => {
      said += String(data)
    })
    socket.once('close', () =>
      resolve(new Map([...said.matchAll(/cmdstat_([^:]+):calls=(\d+)/g)].map(([, name = '', calls]) => [name, Number(calls)]))),
    )
  })
}
