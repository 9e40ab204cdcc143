import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { encodeEntryBundle, leafHash, noteSigner, type Selection, tilesInMemory, verifyBundle } from './index.ts'
import {
  bundle,
  check,
  eventAt,
  events,
  indexesOf,
  linesOf,
  log,
  ORIGIN,
  part,
  rootOf,
  SIZE,
  several,
  signed,
  single,
  whole,
} from './sample-bundle.ts'

describe('an honest bundle', () => {
  it.each([
    ['the whole log', whole],
    ['a range', part],
    ['the first events', { kind: 'range', from: 0, to: 5 }],
    ['the last events', { kind: 'range', from: 33, to: SIZE }],
    ['an empty range', { kind: 'range', from: 9, to: 9 }],
    ['one event with its proof', single],
    ['several events with their proofs', several],
  ] as [string, Selection][])(
    '[P-109] %s verifies offline with the file and the public key, and says what it does not prove',
    async (_, selection) => {
      const report = await check(await bundle(selection))
      expect(report.findings).toEqual([])
      expect(report).toMatchObject({
        ok: true,
        origin: ORIGIN,
        selection,
        events: indexesOf(selection).length,
        signedBy: [`${ORIGIN}+${log.id}`],
      })
      expect(report.checkpoint).toEqual({ origin: ORIGIN, size: SIZE, root: rootOf(SIZE) })
      expect(report.notProven.join('; ')).toMatch(/compromised before it signed.*never reached the log/)
    },
  )

  it('every range of the log verifies', async () => {
    for (let from = 0; from <= SIZE; from += 3) {
      for (let to = from; to <= SIZE; to += 4) expect((await check(await bundle({ kind: 'range', from, to }))).findings).toEqual([])
    }
  })

  it('a log without events verifies', async () => {
    const none: Selection = { kind: 'range', from: 0, to: 0 }
    const text = await bundle(none, { checkpoint: signed(0), source: tilesInMemory([]) })
    expect(await check(text, { whole: true })).toMatchObject({ ok: true, events: 0 })
  })

  it('a log longer than the batches of the verifier is read in chunks cut anywhere', async () => {
    const many = Array.from({ length: 3000 }, (_, i) => eventAt(i))
    const hashes = many.map((event) => leafHash(Buffer.from(event)))
    const text = await bundle(
      { kind: 'range', from: 0, to: 3000 },
      {
        checkpoint: signed(3000, rootOf(3000, hashes)),
        events: many.map((event, index) => ({ index, event })),
        source: tilesInMemory(hashes),
        earlier: [signed(2500, rootOf(2500, hashes))],
      },
    )
    const bytes = Buffer.from(text)
    async function* chunks() {
      for (let at = 0; at < bytes.length; at += 977) yield bytes.subarray(at, at + 977)
    }
    expect(await verifyBundle(chunks(), { keys: [{ verifier: log }], whole: true })).toMatchObject({ ok: true, events: 3000 })
  })

  it('earlier checkpoints, signed by the keys of their time, and attachments go with it', async () => {
    const old = noteSigner(ORIGIN, generateKeyPairSync('ed25519').privateKey)
    const text = await bundle(part, {
      keys: [old, log],
      earlier: [signed(3, rootOf(3), old), signed(20), signed(SIZE)],
      attachments: [{ name: 'policy.yaml', text: 'kind: Policy\n' }],
    })
    const keys = [
      { verifier: old, toSize: 10 },
      { verifier: log, fromSize: 10 },
    ]
    expect(await check(text, { keys })).toMatchObject({ ok: true })
    expect((await check(text)).findings).toMatchObject([{ kind: 'wrong_key' }])
    expect((await check(text, { keys: [{ verifier: old }, { verifier: log, fromSize: SIZE + 1 }] })).ok).toBe(false)
  })

  it('the exact text of an event comes through, so that foreign tools hash the same bytes', async () => {
    const [event] = linesOf(await bundle(single)).filter((line) => line.kind === 'event')
    expect(event).toMatchObject({ index: 19, event: events[19] })
    expect(encodeEntryBundle([Buffer.from(event?.event ?? '')]).subarray(2)).toEqual(new Uint8Array(Buffer.from(eventAt(19))))
  })

  it('the writer refuses parts that do not fit together', async () => {
    await expect(bundle(whole, { events: [] })).rejects.toThrow('41 events are selected, 0 came')
    await expect(bundle(part, { events: [{ index: 8, event: 'x' }] })).rejects.toThrow('not the next one')
    await expect(bundle({ kind: 'range', from: 0, to: SIZE + 1 })).rejects.toThrow(RangeError)
    await expect(bundle({ kind: 'events', indexes: [3, 3] })).rejects.toThrow(RangeError)
    await expect(bundle(whole, { checkpoint: 'nonsense' })).rejects.toThrow(TypeError)
    await expect(check(await bundle(whole), { keys: [] })).rejects.toThrow(TypeError)
  })
})
