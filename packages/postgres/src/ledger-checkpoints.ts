import type { UnixMillis, ZoneId } from '@caracal/core'
import { timestamp } from './column.ts'
import type { Queryable } from './database.ts'

/** A published checkpoint: the signed note and what it says. */
export type LogCheckpoint = {
  readonly zone: ZoneId
  readonly size: number
  readonly root: Uint8Array
  readonly note: string
  readonly at: UnixMillis
}

/** Keeps a checkpoint, for good. False when there is one of this size already: the first one stands. */
export async function insertCheckpoint(db: Queryable, checkpoint: LogCheckpoint): Promise<boolean> {
  const row = await db
    .insertInto('log_checkpoints')
    .values({ ...checkpoint, at: timestamp(checkpoint.at) })
    .onConflict((conflict) => conflict.doNothing())
    .returning('size')
    .executeTakeFirst()
  return row !== undefined
}

/** The largest one. */
export async function latestCheckpoint(db: Queryable, zone: ZoneId): Promise<LogCheckpoint | undefined> {
  return await db.selectFrom('log_checkpoints').selectAll().where('zone', '=', zone).orderBy('size', 'desc').limit(1).executeTakeFirst()
}

/** The smallest one that covers entry `seq` (its size is greater). */
export async function checkpointCovering(db: Queryable, zone: ZoneId, seq: number): Promise<LogCheckpoint | undefined> {
  return await db
    .selectFrom('log_checkpoints')
    .selectAll()
    .where('zone', '=', zone)
    .where('size', '>', seq)
    .orderBy('size')
    .limit(1)
    .executeTakeFirst()
}

export async function findCheckpoint(db: Queryable, zone: ZoneId, size: number): Promise<LogCheckpoint | undefined> {
  return await db.selectFrom('log_checkpoints').selectAll().where('zone', '=', zone).where('size', '=', size).executeTakeFirst()
}
