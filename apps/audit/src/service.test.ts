import { newId } from '@caracal/core'
import { leafHash, openCheckpoint, parseVerifierKey, verifyBundle, verifyConsistency, verifyInclusion } from '@caracal/ledger'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { event, KINDS, openWorld, until, type World } from './test-support/world.ts'

const hashes = (texts: readonly string[]) => texts.map((text) => Buffer.from(text, 'base64'))

describe.each(KINDS)('evidence in the ledger (%s)', (kind) => {
  let world: World
  beforeAll(async () => {
    world = await openWorld(kind)
  })
  afterAll(() => world?.close())

  async function keysOf(zone: string) {
    const { origin, vkeys } = (await (await world.get(`/v1/zones/${zone}/log/keys`)).json()) as { origin: string; vkeys: string[] }
    return { origin, keys: vkeys.map(parseVerifierKey).flatMap((verifier) => (verifier === undefined ? [] : [{ verifier }])) }
  }

  test('[P-100] an event is found, byte for byte, and proved to be in the log that the zone’s own key signed', async () => {
    const zone = await world.zone()
    const sent = event(zone.id, { request_id: newId('request'), details: { note: 'naïve “ünï”\n\u2028 😀' } })
    await world.send([event(zone.id), sent, event(zone.id)])
    await world.grown(zone.id, 3)
    const search = (await (await world.get(`/v1/zones/${zone.id}/events?request_id=${sent.request_id}`)).json()) as {
      items: { id: string; event: string }[]
    }
    expect(search.items.map(({ id }) => id)).toContain(sent.id)
    const exact = await world.get(`/v1/zones/${zone.id}/events/${sent.id}`)
    expect(exact.headers.get('x-caracal-log-index')).toBe('1')
    const text = await exact.text()
    expect(text).toBe(search.items.find(({ id }) => id === sent.id)?.event)
    expect(JSON.parse(text)).toEqual(sent)

    const proof = (await (await world.get(`/v1/zones/${zone.name}/events/${sent.id}/proof`)).json()) as {
      origin: string
      index: number
      size: number
      checkpoint: string
      hashes: string[]
      event: string
    }
    const { origin, keys } = await keysOf(zone.id)
    expect(origin).toBe(`sts.example.com/zones/${zone.id}`)
    expect(proof).toMatchObject({ origin, index: 1, event: text })
    const opened = openCheckpoint(proof.checkpoint, origin, keys)
    if (!opened.ok) throw new Error(opened.detail)
    expect(opened.checkpoint.size).toBe(proof.size)
    const { size, root } = opened.checkpoint
    expect(verifyInclusion({ leaf: leafHash(Buffer.from(text)), index: 1, size, proof: hashes(proof.hashes), root })).toBe(true)
  })

  test('[P-103] every checkpoint comes within a second and is proved to extend the one before', async () => {
    const zone = await world.zone()
    const { origin, keys } = await keysOf(zone.id)
    let before = openCheckpoint(await (await world.get(`/v1/zones/${zone.id}/log/checkpoint`)).text(), origin, keys)
    let sent = 0
    for (const many of [1, 300, 40]) {
      await world.send(Array.from({ length: many }, () => event(zone.id)))
      sent += many
      await world.grown(zone.id, sent)
      let note = ''
      await until(
        1_000,
        async () => {
          note = await (await world.get(`/v1/zones/${zone.id}/log/checkpoint`)).text()
          return Number(note.split('\n')[1]) >= sent
        },
        'a checkpoint',
      )
      const now = openCheckpoint(note, origin, keys)
      if (!before.ok || !now.ok) throw new Error('a checkpoint does not verify')
      const [older, newer] = [before.checkpoint, now.checkpoint]
      const answer = await world.get(`/v1/zones/${zone.id}/log/proof/consistency?first=${older.size}&second=${newer.size}`)
      const proof = (await answer.json()) as { hashes: string[] }
      expect(verifyConsistency({ older, newer, proof: hashes(proof.hashes) })).toBe(true)
      before = now
    }
  })

  test('[P-108] the export of a log and of a range verify offline with the public key alone', async () => {
    const zone = await world.zone()
    await world.send(Array.from({ length: 700 }, () => event(zone.id)))
    await world.grown(zone.id, 700)
    const { keys } = await keysOf(zone.id)
    const whole = await world.post(`/v1/zones/${zone.id}/exports`, {})
    expect(whole.status).toBe(200)
    const report = await verifyBundle(Buffer.from(await whole.arrayBuffer()), { keys, whole: true })
    expect(report.findings).toEqual([])
    expect(report).toMatchObject({ ok: true, selection: { kind: 'range', from: 0 } })
    expect(report.events).toBeGreaterThanOrEqual(700)
    const part = await world.post(`/v1/zones/${zone.id}/exports`, { from: 13, to: 400 })
    expect(await verifyBundle(Buffer.from(await part.arrayBuffer()), { keys })).toMatchObject({ ok: true, events: 387 })
    expect((await world.post(`/v1/zones/${zone.id}/exports`, { from: 5, to: 100_000 })).status).toBe(400)
  })
})
