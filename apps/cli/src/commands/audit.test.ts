import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatVerifierKey, leafHash, noteSigner, readRoot, signCheckpoint, tilesInMemory, writeBundle } from '@caracal/ledger'
import { afterAll, expect, test } from 'vitest'
import { verify } from './audit.ts'

const ORIGIN = 'sts.example.com/zones/zon_01h455vb4pex5vsknk084sn02q'
const folder = mkdtempSync(join(tmpdir(), 'caracal-audit-verify-'))
afterAll(() => rmSync(folder, { recursive: true }))
const log = noteSigner(ORIGIN, generateKeyPairSync('ed25519').privateKey)
const events = Array.from({ length: 20 }, (_, i) => `{"id":"evt_${i}","zone":"zon_01h455vb4pex5vsknk084sn02q"}`)

/** Writes a bundle of the whole log, changed on the way, and gives its path. */
async function bundleFile(name: string, change: (text: string) => string = (text) => text): Promise<string> {
  const source = tilesInMemory(events.map((event) => leafHash(Buffer.from(event))))
  const checkpoint = signCheckpoint({ origin: ORIGIN, size: events.length, root: await readRoot(source, events.length) }, [log])
  const parts = { checkpoint, keys: [log], selection: { kind: 'range', from: 0, to: events.length } as const, source }
  let text = ''
  for await (const line of writeBundle({ ...parts, events: events.map((event, index) => ({ index, event })) })) text += line
  const file = join(folder, name)
  writeFileSync(file, change(text))
  return file
}

/** Runs the command as offline as it is: there is no context to ask. */
async function run(options: { bundle: string; key?: string }, json = false): Promise<{ lines: string[]; failure: unknown }> {
  const lines: string[] = []
  const context = () => {
    throw new Error('the command asked for a server')
  }
  const output = { json, line: (text = '') => void lines.push(text), note: () => {} }
  const failure = await verify({ output, context, env: {} }, options).then(
    () => undefined,
    (error: unknown) => error,
  )
  return { lines, failure }
}

test('[P-109] a bundle is verified with the file and the key alone, and what it does not prove is said', async () => {
  const bundle = await bundleFile('good.jsonl')
  const { lines, failure } = await run({ bundle, key: formatVerifierKey(log) })
  expect(failure).toBeUndefined()
  expect(lines.join('\n')).toMatch(/verified: 20 events[\s\S]*This does not prove:\n {2}- /)
  const key = join(folder, 'log.vkey')
  writeFileSync(key, `${formatVerifierKey(log)}\n`)
  const asJson = await run({ bundle, key }, true)
  expect(JSON.parse(asJson.lines[0] ?? '')).toMatchObject({ ok: true, events: 20, origin: ORIGIN, checkpoint: { size: 20 } })
})

test('[P-109] a changed event, a foreign key and a cut file fail the command and name what was found', async () => {
  const changed = await bundleFile('changed.jsonl', (text) => text.replace('evt_7', 'evt_x'))
  const found = await run({ bundle: changed, key: formatVerifierKey(log) })
  expect(found.failure).toMatchObject({ message: 'The evidence does not verify.' })
  expect(found.lines.join('\n')).toMatch(/NOT verified[\s\S]*changed_event {2}index 7, line \d+/)
  const stranger = noteSigner(ORIGIN, generateKeyPairSync('ed25519').privateKey)
  const foreign = await run({ bundle: await bundleFile('good.jsonl'), key: formatVerifierKey(stranger) })
  expect(foreign.failure).toBeInstanceOf(Error)
  expect(foreign.lines.join('\n')).toContain('wrong_key')
  const cut = await bundleFile('cut.jsonl', (text) => text.slice(0, text.length / 2))
  expect((await run({ bundle: cut, key: formatVerifierKey(log) })).lines.join('\n')).toContain('truncated_file')
})

test.each([
  ['no key', { bundle: 'good.jsonl' }, /public key from another place/],
  ['a key that is none', { bundle: 'good.jsonl', key: 'a+b+c' }, /not a verifier key/],
  ['a key file that is not there', { bundle: 'good.jsonl', key: join(folder, 'none') }, /cannot be read/],
  ['a bundle that is not there', { bundle: 'none.jsonl', key: formatVerifierKey(log) }, /cannot be read/],
])('%s is an error of the command line', async (_, options, message) => {
  const { failure } = await run({ ...options, bundle: join(folder, options.bundle) })
  expect(failure).toMatchObject({ message: expect.stringMatching(message), exitCode: 2 })
})
