import { randomBytes } from 'node:crypto'
import { keyRing } from '@caracal/core'
import { readRevocation } from '@caracal/enforcement'
import { type EvidenceGroup, evidencePayload, verifyEvidence } from '@caracal/streams'
import fc from 'fast-check'
import { mutatedText } from '../mutate.ts'
import { same } from '../same.ts'
import { target } from '../target.ts'

const keys = keyRing(randomBytes(32))
const strangers = keyRing(randomBytes(32))
const groups: EvidenceGroup[] = [
  { producer: 'sts-1', first: 1, events: ['{"id":"evt_1"}'] },
  { producer: 'sts-1', first: 2, events: ['{"id":"evt_2"}', '{"id":"evt_3"}'] },
  { producer: 'sts-11', first: null, events: ['', '{"text":"ä\\n 1 1"}', '{}'] },
]
const texts = groups.map((group) => evidencePayload(keys, group))
const forged = evidencePayload(strangers, groups[0] as EvidenceGroup)
const corpus = [...texts, texts.join(''), texts.toReversed().join(''), forged, `${texts[0]}${forged}`]

export const evidence = target(
  {
    name: 'evidence',
    guarantee: '[P-100] a message of evidence holds groups exactly as their producers made them, whole, or nothing',
    runs: 4000,
  },
  mutatedText(corpus),
  (payload) => {
    const read = verifyEvidence(payload, keys)
    if (!read.ok) return
    for (const group of read.value)
      if (!groups.some((made) => JSON.stringify(made) === JSON.stringify(group))) throw new Error(`nobody made ${JSON.stringify(group)}`)
    same(read.value.map((group) => evidencePayload(keys, group)).join(''), payload, 'written again')
  },
)

const revoked = { v: 1, op: 'revoke', kind: 'session', id: 'ses_1', zone: 'zon_1', at: 1_700_000_000 }

export const revocation = target(
  { name: 'revocation', guarantee: '[P-054] a message that is read as a revocation names what is revoked', runs: 2000 },
  fc.oneof(mutatedText([JSON.stringify(revoked), JSON.stringify({ ...revoked, op: 'lift', more: {} })]), fc.json()),
  (payload) => {
    const read = readRevocation(payload)
    if (read === null) return
    const { v, op, kind, id, zone, at } = JSON.parse(payload) as typeof revoked
    same([read.v, read.op, read.kind, read.id, read.zone, read.at], [v, op, kind, id, zone, at])
    if (typeof id !== 'string' || id === '' || typeof zone !== 'string' || !['revoke', 'lift'].includes(op))
      throw new Error('names nothing')
  },
)
