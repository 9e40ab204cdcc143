import { generateKeyPairSync, verify } from 'node:crypto'
import { formatVerifierKey, noteSigner, openCheckpoint, parseVerifierKey, signCheckpoint } from '@caracal/ledger'
import fc from 'fast-check'
import { mutatedText } from '../mutate.ts'
import { same } from '../same.ts'
import { target } from '../target.ts'

const ORIGIN = 'sts.example.com/zones/zon_01h455vb4pex5vsknk084sn02q'
const signer = () => noteSigner(ORIGIN, generateKeyPairSync('ed25519').privateKey)
const [log, nextLog, stranger] = [signer(), signer(), signer()]
const root = (byte: number) => new Uint8Array(32).fill(byte)
const good = [
  signCheckpoint({ origin: ORIGIN, size: 0, root: root(0) }, [log]),
  signCheckpoint({ origin: ORIGIN, size: 41, root: root(7) }, [log]),
  signCheckpoint({ origin: ORIGIN, size: 2 ** 40, root: root(9) }, [log, stranger]),
]
const bad = [signCheckpoint({ origin: ORIGIN, size: 41, root: root(8) }, [stranger])]
const spliced = fc
  .tuple(fc.constantFrom(...good, ...bad), fc.constantFrom(...good, ...bad))
  .map(([text, signature]) => `${text.split('\n\n')[0]}\n\n${signature.split('\n\n')[1]}`)

export const checkpoint = target(
  {
    name: 'checkpoint',
    guarantee: '[P-101] no checkpoint is opened but those that the log has signed, byte for byte, as node:crypto alone confirms',
    runs: 4000,
  },
  fc.oneof(mutatedText([...good, ...bad]), spliced),
  (note) => {
    const opened = openCheckpoint(note, ORIGIN, [{ verifier: log }, { verifier: nextLog }])
    if (!opened.ok) return
    const text = note.slice(0, note.indexOf('\n\n') + 1)
    if (!good.some((original) => original.startsWith(`${text}\n`))) throw new Error('this was never signed')
    const { origin, size, root: signedRoot } = opened.checkpoint
    same(`${origin}\n${size}\n${Buffer.from(signedRoot).toString('base64')}\n`, text, 'what is read is what is signed')
    const signatures = note
      .slice(text.length + 1)
      .trimEnd()
      .split('\n')
      .map((line) => Buffer.from(line.split(' ')[2] ?? '', 'base64').subarray(4))
    if (!signatures.some((signature) => verify(null, Buffer.from(text), log.publicKey, signature)))
      throw new Error('no signature of the log')
  },
)

export const verifierKey = target(
  { name: 'verifier-key', guarantee: '[P-101] a verifier key has one spelling', runs: 2000 },
  mutatedText([log, stranger].map(formatVerifierKey)),
  (text) => {
    const read = parseVerifierKey(text)
    if (read !== undefined) same(formatVerifierKey(read), text)
  },
)
