import { randomBytes } from 'node:crypto'
import { keyRing } from '@caracal/core'
import { expect, test } from 'vitest'
import { isAuthentic, type Sealable, sealMessage } from './message-authentication.ts'

const keys = keyRing(randomBytes(32))
const message: Sealable = { stream: 'caracal.audit.events', kind: 'work', partition: 'zone', payload: 'text' }
const seal = sealMessage(keys, message)

test('[P-112] a seal is for one stream, kind, partition and payload, wherever one field ends and the next begins', () => {
  expect(isAuthentic(keys, message, seal)).toBe(true)
  const others: Partial<Sealable>[] = [
    { stream: 'caracal.revocations' },
    { kind: 'message' },
    { kind: 'heartbeat' },
    { partition: 'zonetext', payload: '' },
    { partition: '', payload: 'zonetext' },
    { partition: 'zonet', payload: 'ext' },
    { partition: 'zone\n', payload: 'text' },
    { payload: 'text\0' },
    { payload: 'Text' },
  ]
  for (const other of others) expect(isAuthentic(keys, { ...message, ...other }, seal), JSON.stringify(other)).toBe(false)
})

test('[P-112] a seal counts with its key only, and only in its one spelling', () => {
  const others = [
    { key: '', mac: seal.mac },
    { key: '00000000', mac: seal.mac },
    { key: seal.key, mac: '' },
    { key: seal.key, mac: `${seal.mac}=` },
    { key: seal.key, mac: seal.mac.slice(1) },
    { key: seal.key, mac: seal.mac.toUpperCase() },
  ]
  for (const other of others) expect(isAuthentic(keys, message, other), JSON.stringify(other)).toBe(false)
})
