import type { ZoneId } from '@caracal/core'
import { sql } from 'kysely'
import type { Queryable } from './database.ts'

/** Every zone and how many events its log has. */
export async function logSizes(tx: Queryable): Promise<readonly { readonly zone: ZoneId; readonly size: number }[]> {
  return await tx
    .selectFrom('zones')
    .leftJoin('log_heads', 'log_heads.zone', 'zones.id')
    .select((eb) => ['zones.id as zone', eb.fn.coalesce('log_heads.size', sql<number>`0`).as('size')])
    .orderBy('zones.id')
    .execute()
}

/** Retires every signing key of every zone and destroys its private half: what they signed is refused from then on. Returns how many. */
export async function retireSigningKeys(tx: Queryable): Promise<number> {
  const done = await tx
    .updateTable('zone_keys')
    .set({ state: 'retired', sealed: '' })
    .where('kind', '=', 'signing')
    .where('state', '<>', 'retired')
    .executeTakeFirst()
  return Number(done.numUpdatedRows)
}

/** Whoever read a stream finds that its place is gone, and loads anew. */
export async function renewStreamEpochs(tx: Queryable): Promise<void> {
  await sql`UPDATE stream_heads SET epoch = gen_random_uuid()::text`.execute(tx)
}
