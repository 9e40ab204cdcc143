import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import {
  type ConfigMessage,
  canonicalJson,
  deriveRing,
  type KeyRing,
  type PublicJwk,
  type SealPlace,
  seal,
  type UnixMillis,
  unseal,
  type ZoneId,
} from '@caracal/core'
import {
  bumpConfigVersion,
  type Database,
  enqueue,
  insertZoneKey,
  inZone,
  listZoneKeys,
  lockZoneKeys,
  promoteNextKey,
  retireKeys,
  timestamp,
  type ZoneKey,
} from '@caracal/postgres'
import { earliestRotation, planKeys } from './key-schedule.ts'

type Transaction = Parameters<Parameters<Database['transaction']>[0]>[0]

/** What maintenance did. */
export type KeyMaintenance = { readonly changed: boolean; readonly promoted: boolean }

/** Whether a zone lacks a key or one of its keys is due for a change. */
export function isMaintenanceDue(keys: readonly ZoneKey[], now: UnixMillis): boolean {
  const signing = keys.filter((key) => key.kind === 'signing')
  return planKeys(signing, now).length > 0 || !keys.some((key) => key.kind === 'pepper' && key.state === 'current')
}

/**
 * Makes what the zone lacks (signing keys, pepper) and every change that is due, in one transaction under the zone's key lock, so
 * that any number of replicas may do it at once. Replicas hear of it through the configuration version.
 */
export async function maintainZoneKeys(database: Database, kek: KeyRing, zone: ZoneId, now: UnixMillis): Promise<KeyMaintenance> {
  return inZone(zone, () => database.transaction((tx) => maintain(tx, kek, zone, now)))
}

/**
 * Asks for the next key to sign as early as it may: at once when it was published for ten minutes, else when it will have
 * been (P-011). Asking again meanwhile changes nothing. `within` writes into the same transaction: the evidence.
 */
export async function rotateZoneKeys(
  database: Database,
  kek: KeyRing,
  zone: ZoneId,
  now: UnixMillis,
  within: (tx: Transaction) => Promise<unknown> = async () => undefined,
): Promise<KeyMaintenance & { readonly kid: string; readonly signsAt: UnixMillis }> {
  const work = async (tx: Transaction) => {
    const before = await maintain(tx, kek, zone, now)
    const next = (await listZoneKeys(tx, zone, 'signing')).find((key) => key.state === 'next')
    if (next === undefined) throw new Error(`zone ${zone} has no next key after maintenance`)
    const signsAt = earliestRotation(next, now)
    await tx
      .updateTable('zone_keys')
      .set({ activates_at: timestamp(signsAt) })
      .where('zone', '=', zone)
      .where('kind', '=', 'signing')
      .where('kid', '=', next.kid)
      .execute()
    const after = await maintain(tx, kek, zone, now)
    await within(tx)
    return { changed: before.changed || after.changed, promoted: before.promoted || after.promoted, kid: next.kid, signsAt }
  }
  return inZone(zone, () => database.transaction(work))
}

async function maintain(tx: Transaction, kek: KeyRing, zone: ZoneId, now: UnixMillis): Promise<KeyMaintenance> {
  await lockZoneKeys(tx, zone, 'signing')
  const keys = await listZoneKeys(tx, zone)
  const ring = deriveRing(kek, 'sts', zone)
  let changed = false
  let promoted = false

  if (!keys.some((key) => key.kind === 'pepper' && key.state === 'current')) {
    await insertZoneKey(tx, newPepper(ring, zone, now))
    changed = true
  }
  for (const change of planKeys(
    keys.filter((key) => key.kind === 'signing'),
    now,
  )) {
    changed = true
    if (change.kind === 'retire') await retireKeys(tx, zone, 'signing', now)
    else if (change.kind === 'create') await insertZoneKey(tx, newSigningKey(ring, zone, change.state, now, change.activatesAt))
    else promoted = (await promoteNextKey(tx, zone, 'signing', change.publishedUntil)) || promoted
  }
  if (changed) {
    const version = await bumpConfigVersion(tx, zone)
    const message: ConfigMessage = { v: 1, zone, entity: 'zone_keys', id: zone, version }
    await enqueue(tx, { stream: 'caracal.config', aggregate: zone, payload: JSON.stringify(message) })
  }
  return { changed, promoted }
}

/** An ES256 key pair; the private half leaves this function sealed only. */
function newSigningKey(ring: KeyRing, zone: ZoneId, state: 'current' | 'next', now: UnixMillis, activatesAt: UnixMillis): ZoneKey {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { kty, crv, x, y } = pair.publicKey.export({ format: 'jwk' })
  const kid = thumbprint({ crv, kty, x, y })
  const publicJwk: PublicJwk = { kty: 'EC', crv, x, y, kid, alg: 'ES256', use: 'sig' }
  const sealed = seal(ring, placeOf(zone, 'signing', kid), pair.privateKey.export({ format: 'der', type: 'pkcs8' }))
  return { zone, kind: 'signing', kid, state, publicJwk, sealed, createdAt: now, activatesAt, retiresAt: null }
}

function newPepper(ring: KeyRing, zone: ZoneId, now: UnixMillis): ZoneKey {
  const kid = `pepper-${randomBytes(8).toString('hex')}`
  const sealed = seal(ring, placeOf(zone, 'pepper', kid), randomBytes(32))
  return { zone, kind: 'pepper', kid, state: 'current', publicJwk: null, sealed, createdAt: now, activatesAt: now, retiresAt: null }
}

/** RFC 7638 §3: SHA-256 of the required members in lexicographic order. */
function thumbprint(required: Readonly<Record<string, unknown>>): string {
  return createHash('sha256').update(canonicalJson(required)).digest('base64url')
}

function placeOf(zone: ZoneId, kind: ZoneKey['kind'], kid: string): SealPlace {
  return { zone, table: 'zone_keys', row: `${kind}/${kid}`, column: 'sealed', version: 1 }
}

/** The private half of a signing key, imported. Throws when the envelope does not open: the zone then has no signer. */
export function openSigningKey(kek: KeyRing, key: ZoneKey): KeyObject {
  return createPrivateKey({ key: open(kek, key), format: 'der', type: 'pkcs8' })
}

export function openPepper(kek: KeyRing, key: ZoneKey): Uint8Array {
  return open(kek, key)
}

function open(kek: KeyRing, key: ZoneKey): Buffer {
  const opened = unseal(deriveRing(kek, 'sts', key.zone), placeOf(key.zone, key.kind, key.kid), key.sealed)
  if (!opened.ok) throw new Error(`${key.kind} key ${key.kid} of zone ${key.zone} does not open: ${opened.problem}`)
  return opened.value
}
