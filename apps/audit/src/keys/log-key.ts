import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import {
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
import { EMPTY_ROOT, logOrigin, type NoteSigner, type NoteVerifier, noteSigner, noteVerifier } from '@caracal/ledger'
import {
  type Database,
  insertZoneKey,
  isForeignKeyViolation,
  listZoneKeys,
  lockLogHead,
  lockZoneKeys,
  type Queryable,
  type ZoneKey,
  zoneKeyHistory,
} from '@caracal/postgres'

/** What opens and names the log keys. */
export type LogKeySettings = { readonly kek: KeyRing; readonly issuerUrl: string }

/**
 * The zone's log and the key that signs it, made when there is none yet: in one transaction under the zone's key lock, so
 * that any number of replicas may do it at once. Undefined when there is no such zone.
 */
export async function openZoneLog(
  database: Database,
  settings: LogKeySettings,
  zone: ZoneId,
  now: UnixMillis,
): Promise<NoteSigner | undefined> {
  try {
    return await database.transaction(async (tx) => {
      await lockZoneKeys(tx, zone, 'log')
      const keys = await listZoneKeys(tx, zone, 'log')
      const current = keys.find((key) => key.state === 'current') ?? (await makeLogKey(tx, settings.kek, zone, now))
      await lockLogHead(tx, zone, EMPTY_ROOT, now)
      return openLogKey(settings, current)
    })
  } catch (error) {
    if (isForeignKeyViolation(error)) return undefined
    throw error
  }
}

/** Every key the log ever had, oldest first, as verifiers under its origin. */
export async function logVerifiers(db: Queryable, settings: LogKeySettings, zone: ZoneId): Promise<readonly NoteVerifier[]> {
  const origin = logOrigin(settings.issuerUrl, zone)
  const keys = await zoneKeyHistory(db, zone, 'log')
  return keys.flatMap(({ publicJwk }) =>
    publicJwk === null ? [] : [noteVerifier(origin, createPublicKey({ key: { ...publicJwk }, format: 'jwk' }))],
  )
}

/** An Ed25519 pair; the private half leaves this function sealed only. */
async function makeLogKey(tx: Queryable, kek: KeyRing, zone: ZoneId, now: UnixMillis): Promise<ZoneKey> {
  const pair = generateKeyPairSync('ed25519')
  const { kty, crv, x } = pair.publicKey.export({ format: 'jwk' })
  if (kty !== 'OKP' || crv !== 'Ed25519' || x === undefined) throw new Error('the pair is not Ed25519')
  // RFC 7638 and RFC 8037 appendix A.3.
  const kid = createHash('sha256').update(canonicalJson({ crv, kty, x })).digest('base64url')
  const publicJwk: PublicJwk = { kty, crv, x, kid, alg: 'EdDSA', use: 'sig' }
  const sealed = seal(deriveRing(kek, 'ledger', zone), placeOf(zone, kid), pair.privateKey.export({ format: 'der', type: 'pkcs8' }))
  const key: ZoneKey = { zone, kind: 'log', kid, state: 'current', publicJwk, sealed, createdAt: now, activatesAt: now, retiresAt: null }
  await insertZoneKey(tx, key)
  return key
}

/** Throws when the envelope does not open: the KEK is another one, or the row was changed. */
function openLogKey({ kek, issuerUrl }: LogKeySettings, key: ZoneKey): NoteSigner {
  const opened = unseal(deriveRing(kek, 'ledger', key.zone), placeOf(key.zone, key.kid), key.sealed)
  if (!opened.ok) throw new Error(`the log key ${key.kid} of zone ${key.zone} does not open: ${opened.problem}`)
  return noteSigner(logOrigin(issuerUrl, key.zone), createPrivateKey({ key: opened.value, format: 'der', type: 'pkcs8' }))
}

function placeOf(zone: ZoneId, kid: string): SealPlace {
  return { zone, table: 'zone_keys', row: `log/${kid}`, column: 'sealed', version: 1 }
}
