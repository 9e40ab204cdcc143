import { type Job, purgeReceipts } from '@caracal/postgres'
import type { CoordinatorDesk } from '../desk.ts'

/** Receipts forgotten in one step. */
const BATCH = 1_000
const EVERY_MS = 60_000

/** Forgets answers that are given again no more: those of the API too, which has the same table. */
export function forgetReceiptsJob({ database, clock }: Pick<CoordinatorDesk, 'database' | 'clock'>): Job {
  return {
    name: 'receipts',
    everyMs: EVERY_MS,
    step: async (hold) => {
      const forgotten = await database.transaction(async (tx) => {
        const count = await purgeReceipts(tx, clock(), BATCH)
        if (count > 0) await hold.demand(tx)
        return count
      })
      return forgotten === BATCH
    },
  }
}
