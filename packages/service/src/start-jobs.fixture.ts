/**
 * A replica as a process of its own, to be killed or frozen: takes the URL of the database and the lease, prints `working` in the
 * middle of a step's transaction, `committed` after it and what it warns of. With `hang` the step never goes on.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { type Database, type JobHold, openDatabase, runJob } from '@caracal/postgres'
import { sql } from 'kysely'

export const JOB = 'count'

/** Writes the number after the largest there is. Nothing but the fence keeps two from writing the same one. */
export async function countOn(database: Database, hold: JobHold, meanwhile: () => Promise<unknown>): Promise<void> {
  await database.transaction(async (tx) => {
    const { rows } = await sql<{ next: number }>`SELECT count(*) + 1 AS next FROM counted`.execute(tx)
    await meanwhile()
    await sql`INSERT INTO counted (number, pid) VALUES (${rows[0]?.next}, ${process.pid})`.execute(tx)
    await hold.demand(tx)
  })
}

if (import.meta.main) {
  const [, , url = '', leaseMs = '', hang] = process.argv
  const say = (line: string) => void process.stdout.write(`${line}\n`)
  const logger = { warn: (_fields: object, message: string) => say(message), error: (_fields: object, message: string) => say(message) }
  const database = await openDatabase({ url })
  const meanwhile = async () => {
    say('working')
    await (hang === 'hang' ? new Promise(() => {}) : sleep(300))
  }
  const step = async (hold: JobHold) => {
    await countOn(database.as('coordinator'), hold, meanwhile)
    say('committed')
    return false
  }
  runJob({ name: JOB, everyMs: 3_600_000, step }, { database: database.as('coordinator'), logger, leaseMs: Number(leaseMs) })
  setInterval(() => {}, 60_000)
}
