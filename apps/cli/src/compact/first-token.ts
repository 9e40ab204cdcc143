import { createHash, randomBytes } from 'node:crypto'
import { type AdminToken, keyRing, newId, type Role, type ZoneId } from '@caracal/core'
import { createAdminToken, type Database, enqueue, inZone, listZones, type Queryable } from '@caracal/postgres'
import { outboxEvidence } from '@caracal/streams'
import { CliError } from '../cli-error.ts'
import { internalKey } from './kek.ts'

export type WantedToken = {
  readonly name: string
  readonly roles: readonly Role[]
  /** Null: every zone. */
  readonly zone: ZoneId | null
  readonly expiresAt: number
}

/**
 * Makes an admin token in the database, for whoever may read and write it anyway: the first one, where no token exists to ask the API
 * with. The ledger of every zone that it has power over says so, in the same transaction. Gives the token and its row.
 */
export async function createTokenInDatabase(
  database: Database,
  kek: Uint8Array,
  wanted: WantedToken,
): Promise<{ readonly token: string; readonly row: AdminToken }> {
  const token = `cat_${randomBytes(32).toString('base64url')}`
  const digest = createHash('sha256').update(token).digest('hex')
  const evidence = outboxEvidence({ service: 'api', keys: keyRing(Buffer.from(internalKey(kek, 'AUDIT_HMAC_KEY'), 'hex')) })
  const row = await database.transaction(async (tx) => {
    const now = Date.now()
    const id = newId('token', now)
    const make = () => createAdminToken(tx, { ...wanted, id, digest, createdBy: 'bootstrap' }, now)
    const made = await (wanted.zone === null ? make() : inZone(wanted.zone, make))
    if (!made.ok) throw new CliError(`A token with the name ${wanted.name} exists already.`, 'Choose another name.')
    for (const zone of wanted.zone === null ? await allZones(tx) : [wanted.zone]) {
      const { name, roles } = wanted
      const details = { action: 'create', roles, global: wanted.zone === null, over: 'database' }
      await enqueue(
        tx,
        evidence({ zone, type: 'admin.changed', actor: { admin: 'bootstrap' }, target: { kind: 'token', id, name }, details }),
      )
    }
    return made.value
  })
  return { token, row }
}

async function allZones(tx: Queryable): Promise<readonly ZoneId[]> {
  const found: ZoneId[] = []
  let after: string | undefined
  do {
    const page = await listZones(tx, { limit: 500, after })
    found.push(...page.items.map(({ id }) => id))
    after = page.next ?? undefined
  } while (after !== undefined)
  return found
}
