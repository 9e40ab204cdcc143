import { hkdfSync, randomBytes } from 'node:crypto'
import { deriveKey, type KeyRing, keyRing, type SealPlace, seal, unseal } from '@caracal/core'
import { type Database, pinSetting, readSetting, writeSetting } from '@caracal/postgres'

/** What opens the key that seals everything: a key of the deployment's own, or the password of the database. */
export type KekHolder = { readonly by: 'zone-kek'; readonly secret: Uint8Array } | { readonly by: 'password'; readonly secret: string }

/** As it stands in the database: useless without its holder. */
type Record = { readonly v: 1; readonly by: KekHolder['by']; readonly salt: string; readonly sealed: string }

/** The database was set up with another key or password than this process has. */
export class KekMismatch extends Error {
  override readonly name = 'KekMismatch'
}

const SETTING = 'compact.kek'
const PLACE: SealPlace = { zone: '', table: 'settings', row: SETTING, column: 'value', version: 1 }

/**
 * The key that seals what is secret in this database. At its first use it is made (`ZONE_KEK` itself, or 32 random bytes) and
 * stored, sealed under a key that HKDF derives from its holder and a random salt: a dump alone opens nothing.
 * @throws KekMismatch when it opens with something else.
 */
export async function openKek(database: Database, holder: KekHolder): Promise<Uint8Array> {
  const made = sealedFor(holder, holder.by === 'zone-kek' ? holder.secret : randomBytes(32))
  const held = readRecord(await pinSetting(database.query, SETTING, made, Date.now()))
  const kek = held.by === holder.by ? opened(held, holder) : undefined
  if (kek !== undefined) return kek
  throw new KekMismatch(held.by === holder.by ? `${NAMES[holder.by]} is not the one it was` : `it was set up with ${NAMES[held.by]}`)
}

/**
 * From now on `holder` opens the key that `former` has opened so far; what it seals stays as it is, and processes that run go on.
 * True when that changed something. @throws KekMismatch when `former` does not open it.
 */
export async function adoptKek(database: Database, former: KekHolder | undefined, holder: KekHolder): Promise<boolean> {
  return await database.transaction(async (tx) => {
    const found = await readSetting(tx, SETTING)
    if (found === undefined) throw new KekMismatch('nothing is sealed in this database yet: it needs no adoption')
    const held = readRecord(found)
    if (held.by === holder.by && opened(held, holder) !== undefined) return false
    const kek = former !== undefined && held.by === former.by ? opened(held, former) : undefined
    if (kek === undefined)
      throw new KekMismatch(
        former === undefined ? `the former one is needed: ${NAMES[held.by]}_PREVIOUS` : `the former ${NAMES[held.by]} is another`,
      )
    await writeSetting(tx, SETTING, sealedFor(holder, kek), Date.now())
    return true
  })
}

/** What the holder is called in the environment. */
export const NAMES = { 'zone-kek': 'ZONE_KEK', password: 'DB_PASSWORD' } as const

/** Keys between roles that nobody gave, each 32 bytes as hex; the same in every process of the installation. */
export function internalKey(kek: Uint8Array, name: 'AUDIT_HMAC_KEY' | 'STREAMS_HMAC_KEY' | 'GATEWAY_STS_HMAC_KEY'): string {
  return deriveKey(kek, 'internal-keys', name).toString('hex')
}

function sealedFor(holder: KekHolder, kek: Uint8Array): Record {
  const salt = randomBytes(32)
  return { v: 1, by: holder.by, salt: salt.toString('hex'), sealed: seal(ringOf(holder, salt), PLACE, kek) }
}

function opened(record: Record, holder: KekHolder): Uint8Array | undefined {
  const found = unseal(ringOf(holder, Buffer.from(record.salt, 'hex')), PLACE, record.sealed)
  return found.ok ? found.value : undefined
}

function ringOf(holder: KekHolder, salt: Uint8Array): KeyRing {
  return keyRing(Buffer.from(hkdfSync('sha256', holder.secret, salt, `caracal/v1/kek/${holder.by}`, 32)))
}

function readRecord(value: unknown): Record {
  const { v, by, salt, sealed } = (value ?? {}) as Partial<Record>
  if (v !== 1 || (by !== 'zone-kek' && by !== 'password') || typeof salt !== 'string' || typeof sealed !== 'string')
    throw new KekMismatch('what the database says of it cannot be read by this release')
  return { v, by, salt, sealed }
}
