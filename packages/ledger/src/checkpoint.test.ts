import { execFileSync } from 'node:child_process'
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  appendLeaves,
  consistencyProof,
  cosignNote,
  EMPTY_FRONTIER,
  EMPTY_ROOT,
  formatCheckpoint,
  formatVerifierKey,
  leafHash,
  logOrigin,
  noteSigner,
  noteVerifier,
  openCheckpoint,
  parseCheckpoint,
  parseNote,
  parseVerifierKey,
  signCheckpoint,
  signNote,
  tilesInMemory,
  verifyNote,
  watch,
} from './index.ts'

const ORIGIN = 'sts.example.com/zones/zon_01h455vb4pex5vsknk084sn02q'
const newSigner = (name = ORIGIN) => noteSigner(name, generateKeyPairSync('ed25519').privateKey)
const leaves = Array.from({ length: 40 }, (_, i) => leafHash(Buffer.from(`leaf ${i}`)))
const rootOf = (size: number) => appendLeaves(EMPTY_FRONTIER, leaves.slice(0, size)).root
const log = newSigner()
const trusted = [{ verifier: log }]
const signed = (size: number, root = rootOf(size), signer = log) => signCheckpoint({ origin: signer.name, size, root }, [signer])

describe('keys and notes', () => {
  // The key and the note of the documentation of golang.org/x/mod/sumdb/note.
  const VKEY = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'
  const TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
  const NOTE = `${TEXT}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`

  it('the published note verifies by the published key', () => {
    const key = parseVerifierKey(VKEY)
    const note = parseNote(NOTE)
    if (key === undefined || note === undefined) throw new Error('the published spelling is not read')
    expect(note.text).toBe(TEXT)
    expect(verifyNote(note, [key])).toEqual({ ok: true, by: [key] })
    expect(formatVerifierKey(key)).toBe(VKEY)
  })

  it.each([
    ['another key id', VKEY.replace('c74f20a3', 'c74f20a4')],
    ['an upper-case id', VKEY.replace('c74f20a3', 'C74F20A3')],
    ['another type', VKEY.replace('+AR', '+BB')],
    ['a short key', 'PeterNeumann+c74f20a3+ARpc'],
    ['no name', VKEY.replace('PeterNeumann', '')],
    ['a space in the name', VKEY.replace('Peter', 'Peter ')],
    ['a newline at the end', `${VKEY}\n`],
    ['other base64', VKEY.replace('/', '_')],
    ['nothing', ''],
  ])('a verifier key with %s is refused', (_, text) => {
    expect(parseVerifierKey(text)).toBeUndefined()
  })

  it('only Ed25519 keys become keys of a log', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    expect(() => noteVerifier(ORIGIN, publicKey)).toThrow(TypeError)
    expect(() => noteVerifier('a+b', log.publicKey)).toThrow(TypeError)
    expect(() => noteVerifier('a\u2003b', log.publicKey)).toThrow(TypeError)
  })

  it.each([
    ['no signature', TEXT],
    ['no blank line', NOTE.replace('\n\n', '\n')],
    ['no newline at the end', NOTE.slice(0, -1)],
    ['a carriage return', NOTE.replace('\n', '\r\n')],
    ['a tab', NOTE.replace(' ', '\t')],
    ['a hyphen for the dash', NOTE.replace('—', '-')],
    ['two spaces', NOTE.replace('— ', '—  ')],
    ['a space at the end of the signature', NOTE.replace('nAM=\n', 'nAM= \n')],
    ['base64 without padding', NOTE.replace('nAM=', 'nAM')],
    ['stray bits in the base64', NOTE.replace('nAM=', 'nAN=')],
    ['a signature of only a key id', `${TEXT}\n— PeterNeumann x08gow==\n`],
    ['a line after the signatures', `${NOTE}x\n`],
    ['an empty line after the signatures', `${NOTE}\n`],
    ['a lone surrogate', NOTE.replace('If', '\ud800')],
    ['65 signatures', `${TEXT}\n${'— PeterNeumann x08go/ZJ\n'.repeat(65)}`],
    ['nothing', ''],
    ['only newlines', '\n\n\n'],
  ])('a note with %s is refused', (_, note) => {
    expect(parseNote(note)).toBeUndefined()
  })

  it('the text ends at the last blank line, so that a text may have blank lines itself', () => {
    const text = 'one\n\n— two three\n'
    expect(parseNote(signNote(text, [log]))?.text).toBe(text)
  })

  it('signatures of unknown keys are ignored, a bad one of a known key refuses the note', () => {
    const witness = newSigner('witness.example.com')
    const note = cosignNote(signed(7), witness)
    expect(openCheckpoint(note, ORIGIN, trusted)).toMatchObject({ ok: true, by: [log] })
    const parsed = parseNote(note)
    if (parsed === undefined) throw new Error('a cosigned note is a note')
    expect(verifyNote(parsed, [log, witness])).toMatchObject({ ok: true, by: [log, witness] })
    const spoiled = parsed.signatures.map((s) => (s.name === ORIGIN ? s : { ...s, signature: s.signature.toReversed() }))
    expect(verifyNote({ ...parsed, signatures: spoiled }, [log, witness])).toEqual({ ok: false, problem: 'bad_signature' })
    expect(verifyNote({ ...parsed, signatures: spoiled }, [log])).toMatchObject({ ok: true })
  })
})

describe('checkpoints', () => {
  it('the origin is the issuer of the zone without its scheme', () => {
    expect(logOrigin('https://sts.example.com', 'zon_1')).toBe('sts.example.com/zones/zon_1')
    expect(logOrigin('http://localhost:8080/', 'zon_1')).toBe('localhost:8080/zones/zon_1')
    expect(logOrigin('https://example.com/sts/', 'zon_1')).toBe('example.com/sts/zones/zon_1')
  })

  it('a checkpoint verifies by an implementation that shares nothing with ours', () => {
    const note = signed(33)
    const [text = '', signatures = ''] = note.split('\n\n')
    const body = `${text}\n`
    expect(body).toBe(`${ORIGIN}\n33\n${Buffer.from(rootOf(33)).toString('base64')}\n`)
    const [, name, encoded = ''] = signatures.trimEnd().split(' ')
    const blob = Buffer.from(encoded, 'base64')
    // The verifier key as a stranger would take it apart.
    const [, vname, vid, vkey = ''] = /^(.*?)\+(.*?)\+(.*)$/.exec(formatVerifierKey(log)) ?? []
    const raw = Buffer.from(vkey, 'base64').subarray(1)
    const id = createHash('sha256').update(`${vname}\n\x01`).update(raw).digest('hex').slice(0, 8)
    expect([name, blob.subarray(0, 4).toString('hex'), vid]).toEqual([ORIGIN, id, id])
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw])
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
    expect(verify(null, Buffer.from(body), key, blob.subarray(4))).toBe(true)

    const dir = mkdtempSync(join(tmpdir(), 'checkpoint-'))
    try {
      writeFileSync(join(dir, 'key.pem'), key.export({ format: 'pem', type: 'spki' }))
      writeFileSync(join(dir, 'body'), body)
      writeFileSync(join(dir, 'signature'), blob.subarray(4))
      const openssl = (file: string) =>
        execFileSync(
          'openssl',
          [
            'pkeyutl',
            '-verify',
            '-rawin',
            '-pubin',
            '-inkey',
            join(dir, 'key.pem'),
            '-in',
            join(dir, file),
            '-sigfile',
            join(dir, 'signature'),
          ],
          { encoding: 'utf8', stdio: 'pipe' },
        )
      expect(openssl('body')).toContain('Verified Successfully')
      writeFileSync(join(dir, 'other'), body.replace('33', '34'))
      expect(() => openssl('other')).toThrow()
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  it('signatures are those of RFC 8032: the same text and key give the same note', () => {
    // Secret key of RFC 8032 §7.1 test 1, as PKCS #8.
    const der = Buffer.from('302e020100300506032b6570042204209d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex')
    const signer = noteSigner('example.com/log', createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }))
    const raw = Buffer.from('01d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'hex').toString('base64')
    expect(formatVerifierKey(signer)).toBe(`example.com/log+${signer.id}+${raw}`)
    const checkpoint = { origin: 'example.com/log', size: 0, root: EMPTY_ROOT }
    expect(signCheckpoint(checkpoint, [signer])).toBe(signCheckpoint(checkpoint, [signer]))
  })

  it.each([
    ['a leading zero', `${ORIGIN}\n01\n`],
    ['a sign', `${ORIGIN}\n+1\n`],
    ['no size', `${ORIGIN}\n\n`],
    ['a size past 2^53', `${ORIGIN}\n9007199254740992\n`],
    ['an exponent', `${ORIGIN}\n1e3\n`],
    ['an empty origin', '\n1\n'],
    ['a space in the origin', 'a b\n1\n'],
    ['a plus in the origin', 'a+b\n1\n'],
  ])('a checkpoint with %s is refused', (_, head) => {
    expect(parseCheckpoint(`${head}${Buffer.from(EMPTY_ROOT).toString('base64')}\n`)).toBeUndefined()
  })

  it('a checkpoint with a short root, an extension line or a missing newline is refused', () => {
    const good = formatCheckpoint({ origin: ORIGIN, size: 1, root: rootOf(1) })
    expect(parseCheckpoint(good)).toEqual({ origin: ORIGIN, size: 1, root: rootOf(1) })
    expect(parseCheckpoint(`${good}more\n`)).toBeUndefined()
    expect(parseCheckpoint(good.slice(0, -1))).toBeUndefined()
    expect(parseCheckpoint(`${ORIGIN}\n1\n${Buffer.from(rootOf(1)).subarray(1).toString('base64')}\n`)).toBeUndefined()
    expect(() => signCheckpoint({ origin: ORIGIN, size: 1, root: rootOf(1) }, [newSigner('elsewhere.example.com')])).toThrow(TypeError)
  })

  it('[P-103] no changed character of a checkpoint verifies: it signs size and root', () => {
    const note = signed(12)
    fc.assert(
      fc.property(
        fc.nat(note.length - 1),
        fc.constantFrom('replace', 'drop', 'double'),
        fc.integer({ min: 1, max: 0x10ff }),
        (at, kind, code) => {
          const char = String.fromCharCode(code)
          const changed = {
            replace: note.slice(0, at) + char + note.slice(at + 1),
            drop: note.slice(0, at) + note.slice(at + 1),
            double: note.slice(0, at) + note.charAt(at) + note.slice(at),
          }[kind]
          fc.pre(changed !== note)
          expect(openCheckpoint(changed, ORIGIN, trusted).ok).toBe(false)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('the log and its key are pinned: neither another origin nor another key under the same name will do', () => {
    const other = newSigner('sts.example.com/zones/other')
    const impostor = newSigner()
    expect(openCheckpoint(signed(5, rootOf(5), other), ORIGIN, [{ verifier: other }])).toMatchObject({ problem: 'wrong_origin' })
    expect(openCheckpoint(signed(5, rootOf(5), impostor), ORIGIN, trusted)).toMatchObject({ problem: 'wrong_key' })
    // A trusted key of another log signs for this one: its name is not the origin.
    const text = formatCheckpoint({ origin: ORIGIN, size: 5, root: rootOf(5) })
    expect(openCheckpoint(signNote(text, [other]), ORIGIN, [...trusted, { verifier: other }])).toMatchObject({ problem: 'wrong_key' })
    expect(openCheckpoint(signed(5), ORIGIN, [])).toMatchObject({ problem: 'wrong_key' })
  })

  it('[P-103] after two rotations each checkpoint verifies with the key of its time and with no other', () => {
    const [first, second, third] = [newSigner(), newSigner(), newSigner()]
    const keys = [
      { verifier: first, toSize: 10 },
      { verifier: second, fromSize: 10, toSize: 20 },
      { verifier: third, fromSize: 20 },
    ]
    const verdict = (size: number, signer: typeof first) => openCheckpoint(signed(size, rootOf(size), signer), ORIGIN, keys).ok
    expect([verdict(5, first), verdict(15, second), verdict(30, third)]).toEqual([true, true, true])
    expect([
      verdict(15, first),
      verdict(30, first),
      verdict(5, second),
      verdict(30, second),
      verdict(5, third),
      verdict(15, third),
    ]).toEqual(Array(6).fill(false))
    // At the change both sign, so that a reader who has only one of the keys follows.
    const handover = cosignNote(signed(10, rootOf(10), first), second)
    expect(openCheckpoint(handover, ORIGIN, [{ verifier: first }]).ok).toBe(true)
    expect(openCheckpoint(handover, ORIGIN, [{ verifier: second }]).ok).toBe(true)
  })
})

describe('watching a log', () => {
  const seen = { origin: ORIGIN, size: 20, root: rootOf(20) }
  const source = tilesInMemory(leaves)
  const look = async (note: string, size = 40) =>
    watch({ seen, note, proof: await consistencyProof(source, 20, size), origin: ORIGIN, keys: trusted }).verdict

  it('[P-103] growth, standstill, a cut tail, a restored backup, rewritten history and foreign notes are told apart', async () => {
    expect(watch({ note: signed(20), proof: [], origin: ORIGIN, keys: trusted })).toMatchObject({ verdict: 'ok', checkpoint: seen })
    expect(await look(signed(40))).toBe('ok')
    expect(await look(signed(20), 20)).toBe('ok')
    expect(await look(signed(19), 20)).toBe('rollback')
    expect(await look(signed(0, EMPTY_ROOT), 20)).toBe('rollback')
    const rewritten = appendLeaves(EMPTY_FRONTIER, leaves.with(3, rootOf(1))).root
    expect(await look(signed(40, rewritten))).toBe('fork')
    expect(await look(signed(20, rewritten), 20)).toBe('fork')
    // Restored from a backup of size 10 and grown past 20 again with other events.
    const regrown = [...leaves.slice(0, 10), ...leaves.slice(0, 30)]
    const proof = await consistencyProof(tilesInMemory(regrown), 20, 40)
    const note = signed(40, appendLeaves(EMPTY_FRONTIER, regrown).root)
    expect(watch({ seen, note, proof, origin: ORIGIN, keys: trusted }).verdict).toBe('fork')
    expect(watch({ seen, note: signed(40), proof: [], origin: ORIGIN, keys: trusted }).verdict).toBe('fork')
    const other = newSigner('sts.example.com/zones/other')
    expect(await look(signed(40, rootOf(40), other))).toBe('wrong_origin')
    expect(await look(signed(40, rootOf(40), newSigner()))).toBe('bad_signature')
    expect(await look(signed(40).replace('\n40\n', '\n41\n'))).toBe('bad_signature')
    expect(await look('nonsense')).toBe('bad_signature')
  })
})
