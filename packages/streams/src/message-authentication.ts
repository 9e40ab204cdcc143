import { findKey, type KeyRing, macText, type StreamName, verifyMacText } from '@caracal/core'

/** What travels beside a payload and proves who wrote it: key name and MAC. */
export type Seal = { readonly key: string; readonly mac: string }

/** What is sealed. `kind` keeps a heartbeat from passing for a message; `partition` is empty on broadcast streams. */
export type Sealable = {
  readonly stream: StreamName
  readonly kind: 'message' | 'heartbeat' | 'work'
  readonly partition: string
  readonly payload: string
}

/** Seals with the current key, over length-prefixed stream, key id, kind, partition and payload bytes (3-wire, Streams; P-112). */
export function sealMessage(keys: KeyRing, message: Sealable): Seal {
  const key = keys.current.id
  return { key, mac: macText(keys, fields(message, key)) }
}

/** Whether current or previous key made this seal for exactly this message. */
export function isAuthentic(keys: KeyRing, message: Sealable, { key, mac }: Seal): boolean {
  return findKey(keys, key) !== null && verifyMacText(keys, fields(message, key), mac)
}

function fields(message: Sealable, keyId: string): readonly string[] {
  return [message.stream, keyId, message.kind, message.partition, message.payload]
}
