import { describe, expect, it } from 'vitest'
import type { EventLine } from './bundle-line.ts'
import { BUNDLE_FINDINGS, type BundleTrust, leafHash, noteSigner } from './index.ts'
import {
  bundle,
  check,
  eventAt,
  impostor,
  kinds,
  leaves,
  log,
  ORIGIN,
  part,
  rootOf,
  SIZE,
  several,
  signed,
  single,
  whole,
  withEvents,
  withLines,
} from './sample-bundle.ts'

describe('tampering that keeps the file well-formed', () => {
  const drop = (index: number) => (line: EventLine[]) => line.filter((event) => event.index !== index)
  const changed = (event: EventLine): EventLine => ({ ...event, event: event.event.replace('allowed', 'refused') })
  const rehashed = (event: EventLine): EventLine => ({ ...event, leaf: Buffer.from(leafHash(Buffer.from(event.event))).toString('base64') })
  const alter = (index: number, how: (event: EventLine) => EventLine) => (all: EventLine[]) =>
    all.map((event) => (event.index === index ? how(event) : event))
  const swap = (at: number) => (all: EventLine[]) => {
    const [a, b] = [all[at], all[at + 1]]
    return a === undefined || b === undefined ? all : all.with(at, b).with(at + 1, a)
  }
  const duplicate = (at: number) => (all: EventLine[]) => all.toSpliced(at, 0, ...all.slice(at, at + 1))
  const rewritten = rootOf(SIZE, leaves.with(4, rootOf(1)))

  const corpus: [string, string[], () => Promise<string>, Partial<BundleTrust>?][] = [
    ['a changed event', ['changed_event', 'wrong_root'], () => withEvents(whole, alter(12, changed))],
    [
      'a changed leaf hash',
      ['changed_event'],
      () =>
        withEvents(
          whole,
          alter(12, (event) => ({ ...event, leaf: Buffer.from(rootOf(1)).toString('base64') })),
        ),
    ],
    [
      'a changed event with a new leaf hash',
      ['wrong_root'],
      () =>
        withEvents(
          whole,
          alter(12, (event) => rehashed(changed(event))),
        ),
    ],
    [
      'a changed event with a new leaf hash, in a range',
      ['wrong_root'],
      () =>
        withEvents(
          part,
          alter(12, (event) => rehashed(changed(event))),
        ),
    ],
    ['a changed single event', ['bad_proof', 'changed_event'], () => withEvents(single, alter(19, changed))],
    [
      'a changed single event with a new leaf hash',
      ['bad_proof'],
      () =>
        withEvents(
          several,
          alter(19, (event) => rehashed(changed(event))),
        ),
    ],
    [
      'a single event under another index',
      ['bad_proof'],
      () => withEvents(single, (all) => all.map((event) => ({ ...event, index: 18 })), { selection: { kind: 'events', indexes: [18] } }),
    ],
    ['a single event without its proof', ['bad_proof'], () => withEvents(single, (all) => all.map(({ proof: _, ...event }) => event))],
    ['a cut tail', ['removed_tail'], () => withEvents(whole, (all) => all.slice(0, -3))],
    [
      'a cut tail, range and count adjusted',
      ['bad_proof'],
      () => withEvents(whole, (all) => all.slice(0, -3), { count: SIZE - 3, selection: { kind: 'range', from: 0, to: SIZE - 3 } }),
    ],
    ['a missing event', ['missing_event'], () => withEvents(whole, drop(12))],
    ['a missing first event', ['missing_event'], () => withEvents(part, drop(7))],
    ['a missing event, count adjusted', ['sequence_gap'], () => withEvents(whole, drop(12), { count: SIZE - 1 })],
    [
      'a missing event, the others renumbered',
      ['removed_tail'],
      () => withEvents(whole, (all) => drop(12)(all).map((event, index) => ({ ...event, index }))),
    ],
    [
      'a missing event, renumbered, range and count adjusted',
      ['bad_proof'],
      () =>
        withEvents(whole, (all) => drop(12)(all).map((event, index) => ({ ...event, index })), {
          count: SIZE - 1,
          selection: { kind: 'range', from: 0, to: SIZE - 1 },
        }),
    ],
    ['a missing single event', ['missing_event'], () => withEvents(several, drop(19))],
    ['a reordered pair', ['reordered_events'], () => withEvents(whole, swap(12))],
    [
      'a pair that changed places and indexes',
      ['wrong_root'],
      () => withEvents(whole, (all) => swap(12)(all).map((event, index) => ({ ...event, index }))),
    ],
    ['a reordered pair of single events', ['reordered_events'], () => withEvents(several, swap(0))],
    ['an event twice', ['duplicate_event'], () => withEvents(whole, duplicate(12))],
    [
      'an event twice, the second in the place of another',
      ['duplicate_event', 'wrong_root'],
      () => withEvents(whole, (all) => all.map((event, index) => ({ ...(index === 13 ? (all[12] ?? event) : event), index }))),
    ],
    [
      'an event past the range',
      ['unexpected_event'],
      () =>
        withEvents(part, (all) => [
          ...all,
          ...all.slice(-1).map((event) => ({
            ...event,
            index: 30,
            event: eventAt(30),
            leaf: Buffer.from(leafHash(Buffer.from(eventAt(30)))).toString('base64'),
          })),
        ]),
    ],
    [
      'an event of another zone',
      ['unexpected_event', 'wrong_root'],
      () =>
        withEvents(
          whole,
          alter(3, (event) => rehashed({ ...event, event: eventAt(3, 'zon_other') })),
        ),
    ],
    [
      'a root made for the changed events, in the manifest',
      ['wrong_root'],
      () =>
        withEvents(
          whole,
          alter(4, (event) => event),
          { checkpoint: { size: SIZE, root: Buffer.from(rewritten).toString('base64') } },
        ),
    ],
    [
      'a checkpoint with another root under the old signature',
      ['bad_signature'],
      () =>
        withLines(whole, (line) => [
          line.kind === 'checkpoint'
            ? { ...line, note: line.note.replace(Buffer.from(rootOf(SIZE)).toString('base64'), Buffer.from(rewritten).toString('base64')) }
            : line,
        ]),
    ],
    [
      'a checkpoint signed by another key under the same name',
      ['wrong_key'],
      () => bundle(whole, { checkpoint: signed(SIZE, rootOf(SIZE), impostor), keys: [impostor] }),
    ],
    [
      'a bundle of another log',
      ['unexpected_event', 'wrong_origin'],
      () => {
        const other = noteSigner('sts.example.com/zones/other', log.privateKey)
        return bundle(single, { checkpoint: signed(SIZE, rootOf(SIZE), other), keys: [other] })
      },
    ],
    [
      'a manifest of another log',
      ['unexpected_event', 'wrong_origin'],
      () => withEvents(whole, (all) => all, { origin: 'sts.example.com/zones/other' }),
    ],
    ['an earlier checkpoint of another history', ['inconsistent_checkpoint'], () => bundle(whole, { earlier: [signed(20, rewritten)] })],
    [
      'an earlier checkpoint that is larger',
      ['inconsistent_checkpoint'],
      () =>
        withLines(single, (line) =>
          line.kind === 'checkpoint' ? [line, { kind: 'earlier', note: signed(SIZE + 1, rewritten), proof: [] }] : [line],
        ),
    ],
    [
      'an earlier checkpoint with a spoiled proof',
      ['inconsistent_checkpoint'],
      () =>
        withLines(part, (line) => [line.kind === 'earlier' ? { ...line, proof: line.proof.toReversed() } : line], {
          earlier: [signed(21)],
        }),
    ],
    [
      'an earlier checkpoint with a bad signature',
      ['bad_signature'],
      () =>
        withLines(part, (line) => [line.kind === 'earlier' ? { ...line, note: line.note.replace('\n21\n', '\n22\n') } : line], {
          earlier: [signed(21)],
        }),
    ],
    [
      'spoiled subtrees left of a range',
      ['wrong_root'],
      () => withLines(part, (line) => [line.kind === 'range' ? { ...line, left: line.left.toReversed() } : line]),
    ],
    [
      'too few subtrees left of a range',
      ['bad_proof'],
      () => withLines(part, (line) => [line.kind === 'range' ? { ...line, left: line.left.slice(1) } : line]),
    ],
    [
      'too many subtrees right of a range',
      ['bad_proof'],
      () => withLines(part, (line) => [line.kind === 'range' ? { ...line, right: [...line.right, ...line.right.slice(-1)] } : line]),
    ],
    [
      'a changed attachment',
      ['changed_attachment'],
      () =>
        withLines(single, (line) => [line.kind === 'attachment' ? { ...line, text: 'allow: ["*"]' } : line], {
          attachments: [{ name: 'policy.yaml', text: 'allow: []' }],
        }),
    ],
    [
      'a text that is no event',
      ['changed_event', 'malformed', 'wrong_root'],
      () =>
        withEvents(
          whole,
          alter(3, (event) => ({ ...event, event: 'null' })),
        ),
    ],
    ['two checkpoints', ['malformed'], () => withLines(single, (line) => (line.kind === 'checkpoint' ? [line, line] : [line]))],
    ['no checkpoint', ['malformed'], () => withLines(whole, (line) => (line.kind === 'checkpoint' ? [] : [line]))],
    ['no manifest', ['malformed'], () => withLines(single, (line) => (line.kind === 'manifest' ? [] : [line]))],
    [
      'a range past the log',
      ['malformed', 'sequence_gap'],
      () => withEvents(whole, (all) => all, { selection: { kind: 'range', from: 0, to: SIZE + 1 } }),
    ],
    ['a part where the whole log was asked for', ['incomplete'], () => bundle(part), { whole: true }],
    [
      'a log smaller than what was seen',
      ['rollback'],
      () => bundle({ kind: 'range', from: 0, to: 30 }, { checkpoint: signed(30) }),
      { seen: { origin: ORIGIN, size: SIZE, root: rootOf(SIZE) } },
    ],
    ['another root at the size that was seen', ['fork'], () => bundle(single), { seen: { origin: ORIGIN, size: SIZE, root: rewritten } }],
    [
      'another history below the size that was seen',
      ['fork'],
      () => bundle(whole),
      { seen: { origin: ORIGIN, size: 20, root: rewritten } },
    ],
    [
      'another history than seen, by an earlier checkpoint',
      ['fork'],
      () => bundle(single, { earlier: [signed(20)] }),
      { seen: { origin: ORIGIN, size: 20, root: rewritten } },
    ],
    [
      'nothing that leads from what was seen',
      ['unconnected'],
      () => bundle(single),
      { seen: { origin: ORIGIN, size: 20, root: rootOf(20) } },
    ],
  ]

  it.each(corpus)('[P-109] %s is found as %j', async (_, expected, make, trust) => {
    expect(await kinds(await make(), trust)).toEqual(expected)
  })

  it('[P-109] every kind of finding occurs in the corpus or among the broken files', () => {
    const found = new Set([...corpus.flatMap(([, expected]) => expected), 'truncated_file', 'changed_bytes'])
    expect([...found].sort()).toEqual(Object.keys(BUNDLE_FINDINGS).sort())
  })

  it('findings name the place: line of the file, index in the log, size of the checkpoint', async () => {
    const at = async (text: Promise<string>) => (await check(await text)).findings.map(({ kind, place }) => ({ kind, place }))
    // Manifest, key, checkpoint and range are lines 1 to 4.
    expect((await at(withEvents(whole, alter(12, changed))))[0]).toEqual({ kind: 'changed_event', place: { line: 17, index: 12 } })
    expect(await at(withEvents(whole, (all) => all.filter(({ index }) => index < 10 || index > 14)))).toEqual([
      { kind: 'missing_event', place: { index: 10, to: 15 } },
    ])
    expect(await at(withEvents(whole, (all) => all.slice(0, -3)))).toEqual([{ kind: 'removed_tail', place: { index: 38, to: 41 } }])
    expect(await at(withEvents(whole, swap(12)))).toEqual([{ kind: 'reordered_events', place: { line: 18, index: 12 } }])
    expect(await at(bundle(whole, { earlier: [signed(20, rewritten)] }))).toContainEqual({
      kind: 'inconsistent_checkpoint',
      place: { line: 4, size: 20 },
    })
  })

  it('[P-103] a checkpoint published earlier tells in which stretch history was changed', async () => {
    const text = await withLines(whole, (line) => [line.kind === 'event' && line.index === 25 ? rehashed(changed(line)) : line], {
      earlier: [signed(10), signed(20), signed(30)],
    })
    const sizes = (await check(text)).findings.filter(({ kind }) => kind === 'inconsistent_checkpoint').map(({ place }) => place.size)
    expect(sizes).toEqual([30])
  })

  it('[P-103] a whole log that was cut and signed again is valid alone, and found by who remembers a checkpoint', async () => {
    const cut = await bundle({ kind: 'range', from: 0, to: 30 }, { checkpoint: signed(30) })
    expect(await kinds(cut, { whole: true })).toEqual([])
    expect(await kinds(cut, { whole: true, seen: { origin: ORIGIN, size: 31, root: rootOf(31) } })).toEqual(['rollback'])
    expect(await kinds(await bundle(whole), { seen: { origin: ORIGIN, size: 31, root: rootOf(31) } })).toEqual([])
  })
})
