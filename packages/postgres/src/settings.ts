import type { UnixMillis } from '@caracal/core'
import { json, timestamp } from './column.ts'
import type { Queryable } from './database.ts'

/** Records a fact at its first use and gives what is recorded: the given value, or the one somebody recorded before. */
export async function pinSetting(db: Queryable, name: string, value: unknown, now: UnixMillis): Promise<unknown> {
  await db
    .insertInto('settings')
    .values({ name, value: json(value), updated_at: timestamp(now) })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  return await readSetting(db, name)
}

/** Records a fact, replacing what was recorded. */
export async function writeSetting(db: Queryable, name: string, value: unknown, now: UnixMillis): Promise<void> {
  const columns = { value: json(value), updated_at: timestamp(now) }
  await db
    .insertInto('settings')
    .values({ name, ...columns })
    .onConflict((conflict) => conflict.column('name').doUpdateSet(columns))
    .execute()
}

/** Undefined when nothing is recorded. */
export async function readSetting(db: Queryable, name: string): Promise<unknown> {
  const row = await db.selectFrom('settings').select('value').where('name', '=', name).executeTakeFirst()
  return row?.value
}
