import { keyRing } from '@caracal/core'
import {
  bumpConfigVersion,
  type Database,
  databasePlace,
  enqueue,
  logSizes,
  pinSetting,
  readSetting,
  renewStreamEpochs,
  retireSigningKeys,
  writeSetting,
} from '@caracal/postgres'
import { outboxEvidence } from '@caracal/streams'
import { internalKey } from './kek.ts'

/** The database is a copy of the one that was served: what was revoked after the copy was made is not known in it. */
export class RestoreUnconfirmed extends Error {
  override readonly name = 'RestoreUnconfirmed'
}

const SETTING = 'compact.database'

/** Resolves when this database is the one that was served before; the first one is remembered. @throws RestoreUnconfirmed */
export async function demandKnownDatabase(database: Database): Promise<void> {
  const here = await databasePlace(database.query)
  if ((await pinSetting(database.query, SETTING, here, Date.now())) !== here)
    throw new RestoreUnconfirmed('the database was restored from a dump: run `caracal ledger restored`, and nothing is served before that')
}

export type Restored = { readonly zones: number; readonly retiredKeys: number }

/**
 * Takes a restored database into service, once: mandates that were issued before are refused from now on, because their signing keys are
 * retired (new ones are made at the start), readers of streams begin anew, and the ledger of every zone says that it was restored and at
 * which size. Undefined when this database was not restored: then nothing is changed.
 */
export async function confirmRestored(database: Database, kek: Uint8Array): Promise<Restored | undefined> {
  return await database.transaction(async (tx) => {
    const here = await databasePlace(tx)
    if ((await readSetting(tx, SETTING)) === here) return undefined
    const evidence = outboxEvidence({ service: 'api', keys: keyRing(Buffer.from(internalKey(kek, 'AUDIT_HMAC_KEY'), 'hex')) })
    const zones = await logSizes(tx)
    for (const { zone, size } of zones) {
      await bumpConfigVersion(tx, zone)
      const details = { action: 'restored', log_size: size }
      await enqueue(
        tx,
        evidence({ zone, type: 'admin.changed', actor: { admin: 'bootstrap' }, target: { kind: 'ledger', id: zone }, details }),
      )
    }
    const retiredKeys = await retireSigningKeys(tx)
    await renewStreamEpochs(tx)
    await writeSetting(tx, SETTING, here, Date.now())
    return { zones: zones.length, retiredKeys }
  })
}
