import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { canonicalJson } from '@caracal/core'
import { leafHash, noteSigner, parseVerifierKey, readRoot, signCheckpoint, tilesInMemory, verifyBundle } from '@caracal/ledger'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { caracal } from '../e2e/installation.ts'
import { altered, type EventLine, fieldsOf, isEvent, type Line, linesOf, sealed } from './bundle-tampering.ts'
import { type RealLog, recordRealLog, sizeOf } from './real-log.ts'

let log: RealLog
let lines: Line[]
/** Six events out of the middle: small enough to be checked thousands of times. */
let part: string

beforeAll(async () => {
  log = await recordRealLog(12)
  lines = linesOf(log.bundle)
  part = await exported(3, 9)
}, 240_000)
afterAll(() => log?.stop())

/** A bundle of the indexes [from, to), as the service makes it for `caracal audit export`. */
async function exported(from: number, to: number): Promise<string> {
  const answer = await fetch(log.url.replace(/log$/, 'exports'), {
    method: 'POST',
    headers: { authorization: `Bearer ${log.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ from, to }),
  })
  expect(answer.status).toBe(200)
  return answer.text()
}

const events = () => lines.filter(isEvent)
const eventAt = (at: number): EventLine => {
  const event = events().at(at)
  if (event === undefined) throw new Error(`there is no event ${at}`)
  return event
}
const instead = (old: Line, line: Line) => (one: Line) => (one === old ? line : one)

/** The first events, as a whole log under a checkpoint of that size. */
function cutTo(size: number, note: string): string {
  const [, , root = ''] = note.split('\n')
  const kept = lines.filter((line) => !isEvent(line) || line.index < size)
  const manifest = (line: Line) => ({ ...line, count: size, selection: { kind: 'range', from: 0, to: size }, checkpoint: { size, root } })
  return sealed(
    kept.map((line) => (line.kind === 'manifest' ? manifest(line) : line.kind === 'checkpoint' ? { kind: 'checkpoint', note } : line)),
  )
}

/** A checkpoint of the first events, by a key of the same name. */
async function signedByStranger(size: number): Promise<string> {
  const stranger = noteSigner(log.origin, generateKeyPairSync('ed25519').privateKey)
  const leaves = events().map(({ event }) => leafHash(Buffer.from(event)))
  return signCheckpoint({ origin: log.origin, size, root: await readRoot(tilesInMemory(leaves), size) }, [stranger])
}

describe('caracal audit verify, with a file, a key and nothing that could be asked', () => {
  const written = (name: string, text: string) => {
    const file = join(log.folder, name)
    writeFileSync(file, text)
    return file
  }
  const verify = (bundle: string, ...more: string[]) =>
    caracal(['audit', 'verify', '--bundle', written('asked.jsonl', bundle), '--key', log.key, ...more], { CARACAL_HOME: '/nonexistent' })

  test('[P-109] what a running Caracal exports is good, is the whole log, and extends a checkpoint that was kept', async () => {
    const ran = await verify(log.bundle, '--whole', '--checkpoint', written('early', log.early))
    expect(ran).toMatchObject({ code: 0, stdout: expect.stringContaining(`verified: ${events().length} events`) })
  })

  test.each<[string, string, () => string | Promise<string>]>([
    ['a changed byte', 'changed_event', () => log.bundle.replace('call.refused', 'call.allowed')],
    [
      'a changed byte, everything else made to fit',
      'wrong_root',
      () => sealed(lines.map(instead(eventAt(5), { ...eventAt(5), event: eventAt(5).event.replace('"v":1', '"v":2') }))),
    ],
    ['a removed tail', 'removed_tail', () => sealed(lines.filter((line) => line !== eventAt(-1)))],
    [
      'a removed tail under a checkpoint of a stranger',
      'wrong_key',
      async () => cutTo(events().length - 3, await signedByStranger(events().length - 3)),
    ],
    [
      'a reordered pair',
      'reordered_events',
      () => sealed(lines.map((line) => (line === eventAt(4) ? eventAt(5) : line === eventAt(5) ? eventAt(4) : line))),
    ],
    [
      'a reordered pair, each under the place of the other',
      'wrong_root',
      () =>
        sealed(
          lines
            .map(instead(eventAt(4), { ...eventAt(4), event: eventAt(5).event }))
            .map(instead(eventAt(5), { ...eventAt(5), event: eventAt(4).event })),
        ),
    ],
  ])('[P-109] %s: %s', async (_, kind, tampered) => {
    const ran = await verify(await tampered())
    expect(ran).toMatchObject({ code: 1, stdout: expect.stringContaining('NOT verified') })
    expect(ran.stdout).toContain(`  ${kind}  `)
  })

  test('[P-109] an older state of the log is found by whoever kept a later checkpoint, a part by whoever asks for the whole', async () => {
    const older = cutTo(sizeOf(log.early), log.early)
    expect(await verify(older)).toMatchObject({ code: 0, stdout: expect.stringContaining('that this is the newest state of the log') })
    const kept = written('late', log.late)
    expect(await verify(older, '--checkpoint', kept)).toMatchObject({ code: 1, stdout: expect.stringContaining('  rollback  ') })
    expect(await verify(part, '--whole')).toMatchObject({ code: 1, stdout: expect.stringContaining('  incomplete  ') })
    const forged = written('forged', await signedByStranger(3))
    expect(await verify(log.bundle, '--checkpoint', forged)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('is not a checkpoint'),
    })
  })
})

describe('no place of the file is without a guard', () => {
  const verified = async (text: string | Uint8Array) => {
    const verifier = parseVerifierKey(log.key)
    if (verifier === undefined) throw new Error('the log shows no key')
    return verifyBundle(Buffer.from(text), { keys: [{ verifier }] })
  }

  test.each(['manifest', 'key', 'checkpoint', 'attachment', 'range', 'event', 'end'])(
    '[P-101] a byte of a line of kind %s, changed',
    async (kind) => {
      expect((await verified(part)).ok).toBe(true)
      const all = part.split('\n')
      const at = all.findIndex((line) => JSON.parse(line).kind === kind)
      const begin = Buffer.byteLength(
        all
          .slice(0, at)
          .map((line) => `${line}\n`)
          .join(''),
      )
      const line = Buffer.from(`${all[at]}\n`)
      // Every byte of what is short, and of what is long the first, the last, and enough between that no member is left out.
      const step = Math.ceil(line.length / 100)
      for (let offset = 0; offset < line.length; offset += step) {
        for (const change of [(byte: number) => byte ^ 1, (byte: number) => byte ^ 0x20]) {
          const changed = Buffer.from(part)
          changed.writeUInt8(change(line.readUInt8(offset)), begin + offset)
          if (changed.equals(Buffer.from(part))) continue
          expect((await verified(changed)).ok, `byte ${offset} of ${line}`).toBe(false)
        }
      }
    },
  )

  test('[P-101] any field of any line, everything else made to fit: only what claims nothing may differ', async () => {
    const small = linesOf(part)
    const accepted: string[] = []
    for (const line of small.filter(({ kind }) => kind !== 'end')) {
      for (const field of fieldsOf(line)) {
        const tampered = sealed(small.map(instead(line, field.replaced(altered(field.value)) as Line)))
        // The leaf hash beside an event is made to fit, so it is no change.
        if (tampered !== part && (await verified(tampered)).ok) accepted.push(`${line.kind} ${field.path}`)
      }
    }
    // The name of an attached text; its text has a digest beside it, and that is compared with what the events name.
    expect([...new Set(accepted)]).toEqual(['attachment name'])
  })

  test('[P-101] any field of any type of event, at any depth, everything else made to fit', async () => {
    const types = new Map(events().map((line) => [JSON.parse(line.event).type as string, line]))
    expect([...types.keys()]).toEqual(expect.arrayContaining(['mandate.issued', 'call.allowed', 'call.refused', 'revocation.published']))
    for (const [type, line] of types) {
      const alone = linesOf(await exported(line.index, line.index + 1))
      for (const field of fieldsOf(JSON.parse(line.event))) {
        const event = canonicalJson(field.replaced(altered(field.value)))
        const { ok, findings } = await verified(sealed(alone.map((one) => (isEvent(one) ? { ...one, event } : one))))
        expect(ok, `${field.path} of ${type}`).toBe(false)
        expect(findings.map(({ kind }) => kind)).toContain('wrong_root')
      }
    }
  })

  test('[P-101] any event removed, doubled, or moved by one, everything else made to fit', async () => {
    const small = linesOf(part)
    const inside = small.filter(isEvent)
    for (const [at, line] of inside.entries()) {
      const place = small.indexOf(line)
      expect((await verified(sealed(small.toSpliced(place, 1)))).ok, `without ${at}`).toBe(false)
      expect((await verified(sealed(small.toSpliced(place, 0, line)))).ok, `${at} twice`).toBe(false)
      const moved = small.toSpliced(place, 1).toSpliced(place + 1, 0, line)
      if (at < inside.length - 1) expect((await verified(sealed(moved))).ok, `${at} moved`).toBe(false)
    }
  })
})
