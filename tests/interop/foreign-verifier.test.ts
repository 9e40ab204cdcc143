import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { formatVerifierKey, noteSigner, signCheckpoint } from '@caracal/ledger'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Checked, foreignChecker, type Verdict } from './foreign-checker.ts'
import { type Proof, type RealLog, recordRealLog, sizeOf } from './real-log.ts'

let log: RealLog
let check: (request: Checked) => Promise<Verdict>
let consistency: string[]

beforeAll(async () => {
  check = foreignChecker()
  log = await recordRealLog(92)
  const proof = await log.get(`/log/proof/consistency?first=${sizeOf(log.early)}&second=${sizeOf(log.late)}`)
  consistency = ((await proof.json()) as { hashes: string[] }).hashes
}, 240_000)
afterAll(() => log?.stop())

/** A request for the log as it is, changed. */
const asking = (change: Partial<Checked> = {}): Checked => ({ origin: log.origin, key: log.key, note: log.late, ...change })
const recordOf = ({ index, event, hashes }: Proof) => ({ index, event, proof: hashes })
const proofOf = (type: string): Proof => {
  const found = log.proofs.find(({ event }) => event.includes(`"type":"${type}"`))
  if (found === undefined) throw new Error(`there is no ${type}`)
  return found
}

/** Another key under the same name: everything that it signs is well-formed. */
const stranger = () => noteSigner(log.origin, generateKeyPairSync('ed25519').privateKey)
const flipped = (base64: string) => {
  const bytes = Buffer.from(base64, 'base64')
  bytes.writeUInt8(bytes.readUInt8(5) ^ 1, 5)
  return bytes.toString('base64')
}

describe('what a running Caracal publishes verifies with Go’s sumdb/note and sumdb/tlog', () => {
  test('[P-101] the checkpoint, by the public key of the zone', async () => {
    expect(await check(asking())).toMatchObject({ ok: true, size: sizeOf(log.late), root: log.late.split('\n')[2] })
  })

  test('[P-101] that the exact bytes of each kind of event are in it', async () => {
    expect(log.proofs.map(({ event }) => JSON.parse(event).type)).toEqual([
      'mandate.issued',
      'mandate.refused',
      'call.allowed',
      'call.finished',
      'call.refused',
      'revocation.published',
    ])
    expect(await check(asking({ records: log.proofs.map(recordOf) }))).toMatchObject({ ok: true, records: 6 })
  })

  test('[P-101] that a later checkpoint only added to an earlier one', async () => {
    expect(sizeOf(log.early)).toBeLessThan(sizeOf(log.late))
    expect(await check(asking({ older: log.early, consistency }))).toMatchObject({ ok: true })
  })

  test('[P-101] every entry, by the tiles of the log, full and partial, and consistency out of the same tiles', async () => {
    const verdict = await check(asking({ older: log.early, log: log.url, token: log.token }))
    expect(verdict).toMatchObject({ ok: true, entries: sizeOf(log.late) })
    expect(sizeOf(log.late)).toBeGreaterThan(256)
  })

  test('[P-109] an exported bundle, from nothing but the texts of its events and the key', async () => {
    const verdict = await check(asking({ bundle: log.bundleFile }))
    expect(verdict).toMatchObject({ ok: true, bundle: log.bundle.match(/"kind":"event"/g)?.length })
  })
})

describe('and what was tampered with is refused by them', () => {
  const signed = (note: string, change: (text: string) => string) => {
    const end = note.indexOf('\n\n') + 1
    return change(note.slice(0, end)) + note.slice(end)
  }
  const by = (signer: ReturnType<typeof stranger>, size = sizeOf(log.late)) =>
    signCheckpoint({ origin: log.origin, size, root: Buffer.from(log.late.split('\n')[2] ?? '', 'base64') }, [signer])

  test.each<[string, () => Partial<Checked>, RegExp]>([
    ['another size', () => ({ note: signed(log.late, (text) => text.replace(/\n\d+\n/, `\n${sizeOf(log.late) - 1}\n`)) }), /signature/],
    ['another root', () => ({ note: signed(log.late, (text) => text.replace(/(.)=\n$/, 'A=\n')) }), /signature/],
    ['another origin', () => ({ note: log.late.replaceAll(log.lab.zone, `${log.lab.zone.slice(0, -1)}x`) }), /signature|signed by/],
    ['a line more under the signature', () => ({ note: signed(log.late, (text) => `${text}more\n`) }), /signature/],
    [
      'a changed byte of the signature',
      () => ({ note: log.late.replace(/[^ ]+\n$/, (text) => `${flipped(text)}\n`) }),
      /signature|key|malformed/,
    ],
    ['a cut signature', () => ({ note: `${log.late.slice(0, -9)}\n` }), /signature|malformed/],
    ['the signature of another checkpoint', () => ({ note: `${log.late.split('\n\n')[0]}\n\n${log.early.split('\n\n')[1]}` }), /signature/],
    ['another key that signed the same', () => ({ note: by(stranger()) }), /no verifiable signatures|unknown/],
    ['another key to check with', () => ({ key: formatVerifierKey(stranger()) }), /no verifiable signatures|unknown/],
    [
      'a key of another log',
      () => ({ key: formatVerifierKey(noteSigner('other.example/log', generateKeyPairSync('ed25519').privateKey)) }),
      /the key is of/,
    ],
    ['another log asked for', () => ({ origin: 'other.example/log' }), /the key is of/],
  ])('[P-101] checkpoint: %s', async (_, change, words) => {
    const verdict = await check(asking(change()))
    expect(verdict).toMatchObject({ ok: false, refused: expect.stringMatching(/^checkpoint: /) })
    expect(verdict.refused).toMatch(words)
  })

  test('[P-101] inclusion: every single byte of an event, changed', async () => {
    const proof = proofOf('call.refused')
    const bytes = Buffer.from(proof.event)
    // In one request all could hide behind the first refusal; each is asked alone, spread over the event.
    for (let at = 0; at < bytes.length; at += 37) {
      const changed = Buffer.from(bytes)
      changed.writeUInt8((bytes.readUInt8(at) ^ 1) & 0x7f, at)
      const verdict = await check(asking({ records: [{ ...recordOf(proof), event: changed.toString() }] }))
      expect(verdict, `byte ${at}`).toMatchObject({ ok: false, refused: expect.stringMatching(/^record /) })
    }
  })

  test.each<[string, (record: ReturnType<typeof recordOf>) => Partial<ReturnType<typeof recordOf>>]>([
    ['another place', ({ index }) => ({ index: index + 1 })],
    ['a place behind the end', () => ({ index: sizeOf(log.late) })],
    ['a shorter proof', ({ proof }) => ({ proof: proof.slice(0, -1) })],
    ['a longer proof', ({ proof }) => ({ proof: [...proof, proof[0] ?? ''] })],
    ['a reordered pair in the proof', ({ proof: [a = '', b = '', ...rest] }) => ({ proof: [b, a, ...rest] })],
    ['a changed hash in the proof', ({ proof }) => ({ proof: proof.with(1, flipped(proof[1] ?? '')) })],
    ['a space more', ({ event }) => ({ event: `${event} ` })],
    ['an event that was never recorded', ({ event }) => ({ event: event.replace(/"evt_\w+"/, '"evt_00000000000000000000000000"') })],
    ['the event of another place', () => ({ event: proofOf('call.allowed').event })],
  ])('[P-101] inclusion: %s', async (_, change) => {
    const record = recordOf(proofOf('call.refused'))
    expect(await check(asking({ records: [{ ...record, ...change(record) }] }))).toMatchObject({
      ok: false,
      refused: expect.stringMatching(/^record /),
    })
  })

  test.each<[string, () => Partial<Checked>]>([
    ['a changed hash', () => ({ consistency: consistency.with(0, flipped(consistency[0] ?? '')) })],
    ['a hash less', () => ({ consistency: consistency.slice(1) })],
    ['a reordered pair', () => ({ consistency: [consistency[1] ?? '', consistency[0] ?? '', ...consistency.slice(2)] })],
    ['back in time', () => ({ note: log.early, older: log.late })],
  ])('[P-101] consistency: %s', async (_, change) => {
    expect(await check(asking({ older: log.early, consistency, ...change() }))).toMatchObject({
      ok: false,
      refused: expect.stringMatching(/^consistency: /),
    })
  })

  const lines = () => log.bundle.trimEnd().split('\n')
  const place = (n: number) => lines().findIndex((line) => line.includes('"kind":"event"')) + n
  const lastEvent = () => lines().findLastIndex((line) => line.includes('"kind":"event"'))
  const other = (line = '') => JSON.parse(line) as { index: number; event: string }
  test.each<[string, () => string[]]>([
    ['a changed byte', () => lines().with(place(20), (lines()[place(20)] ?? '').replace('evt_0', 'evt_1'))],
    ['a removed tail', () => lines().toSpliced(lastEvent(), 1)],
    ['a removed head', () => lines().toSpliced(place(0), 1)],
    [
      'a reordered pair',
      () =>
        lines()
          .with(place(3), lines()[place(4)] ?? '')
          .with(place(4), lines()[place(3)] ?? ''),
    ],
    [
      'a reordered pair under each other’s places',
      () => {
        const [a, b] = [other(lines()[place(3)]), other(lines()[place(4)])]
        return lines()
          .with(place(3), JSON.stringify({ ...b, index: a.index }))
          .with(place(4), JSON.stringify({ ...a, index: b.index }))
      },
    ],
    ['an event twice', () => lines().toSpliced(place(3), 0, lines()[place(3)] ?? '')],
    [
      'another checkpoint',
      () => lines().map((line) => (line.includes('"kind":"checkpoint"') ? JSON.stringify({ kind: 'checkpoint', note: log.early }) : line)),
    ],
    ['no checkpoint', () => lines().filter((line) => !line.includes('"kind":"checkpoint"'))],
  ])('[P-101] bundle: %s', async (name, change) => {
    const file = join(log.folder, `${name.replaceAll(/\W+/g, '-')}.jsonl`)
    writeFileSync(file, `${change().join('\n')}\n`)
    expect(await check(asking({ bundle: file }))).toMatchObject({ ok: false, refused: expect.stringMatching(/^bundle: /) })
  })

  test.each(['tile/0/000', 'tile/0/001.p/', 'tile/1/000.p/1', 'tile/entries/000'])('[P-101] tiles: a changed byte of %s', async (path) => {
    const liar = createServer(async (request, response) => {
      const answer = await fetch(`${log.url}${request.url}`, { headers: { authorization: String(request.headers.authorization) } })
      const bytes = Buffer.from(await answer.arrayBuffer())
      if (request.url?.startsWith(`/${path}`)) bytes.writeUInt8(bytes.readUInt8(20) ^ 1, 20)
      response.writeHead(answer.status).end(bytes)
    })
    await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(liar.address() as AddressInfo).port}`
    expect(await check(asking({ log: url, token: log.token }))).toMatchObject({ ok: false, refused: expect.stringMatching(/^tiles: /) })
    await new Promise((resolve) => liar.close(resolve))
  })
})
