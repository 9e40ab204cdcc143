import { freshDatabaseUrl, redisUrl } from '@caracal/harness'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../revocation/cluster.ts'
import { type Ground, KINDS, openGround } from '../revocation/ground.ts'
import { callOnce, openStream, startUpload } from '../revocation/running-call.ts'

let cluster: Cluster
let ground: Ground

beforeAll(async () => {
  cluster = await startCluster({ databaseUrl: await freshDatabaseUrl(), redisUrl: redisUrl() })
  ground = await openGround(cluster, 2)
}, 180_000)
afterAll(async () => {
  await cluster?.stop()
  await ground?.close()
})

/** What is refused once a revocation is known: the mandate, or what it was for. */
const GONE = ['token_revoked', 'no_rule_allows', 'resource_unknown', 'invalid_token', 'wrong_audience']

describe('[P-059] [P-060] [P-176] every kind of revocation', () => {
  test.each(KINDS)(
    '%s: cuts a running stream and a running upload at both Gateways, and no call gets through after it',
    async (kind) => {
      const target = await ground.target(kind, 1)
      const calls = await Promise.all(
        cluster.gateways.flatMap(({ url }) => [
          openStream(url, target.path, target.mandate),
          startUpload(url, target.path, target.mandate),
        ]),
      )
      for (const { url } of cluster.gateways) expect(await callOnce(url, target.path, target.mandate)).toMatchObject({ status: 200 })

      await target.revoke()
      for (const { kind: what, ended } of calls) {
        const ending = await ended
        if (what === 'stream') expect(ending).toMatchObject({ status: 200, complete: true, trailers: { 'x-caracal-revoked': 'true' } })
        else expect(ending.body, 'an upload is refused').toMatch(/"code":"(token_revoked|no_rule_allows)"/)
      }
      for (const { url } of cluster.gateways) expect(GONE).toContain((await callOnce(url, target.path, target.mandate)).code)

      const interrupted = async () => {
        const events = await cluster.events(target.zone, { type: 'call.finished', jti: target.mandateId })
        return events.filter(({ event }) => /"interrupted":"/.test(String(event))).length
      }
      await expect.poll(interrupted, { timeout: 20_000 }).toBe(calls.length)
    },
    60_000,
  )
})

test('[P-037] a thousand new sessions and delegations: mandates that were out before keep working', async () => {
  const kinds = ['mandate', 'mandate it was exchanged from', 'session above', 'delegation'] as const
  const before = await Promise.all(kinds.map((kind) => ground.target(kind, 0)))
  let left = 1_000
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (left > 0) {
        left -= 1
        await ground.offer()
      }
    }),
  )
  for (const { url } of cluster.gateways)
    for (const { path, mandate } of before) expect(await callOnce(url, path, mandate)).toMatchObject({ status: 200 })
}, 240_000)

test('[P-055] every Gateway and STS publishes how long the revocations took to reach it', async () => {
  for (const { metrics } of [...cluster.gateways, ...cluster.sts]) {
    const text = await (await fetch(metrics)).text()
    const value = (name: string) =>
      Number(new RegExp(`^caracal_revocation_propagation_seconds_${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1])
    // Deleting a policy revokes no id, and the STS that a holder asked knew of it before it was told.
    expect(value('count')).toBeGreaterThanOrEqual(KINDS.length - 2)
    expect(value('sum')).toBeGreaterThan(0)
  }
})
