import { join } from 'node:path'
import type { EnforcementConfiguration } from '../enforcement-settings.ts'
import { BudgetSlices, type SlicesOptions } from './budget-slices.ts'
import { SpendJournal } from './spend-journal.ts'

/**
 * What this point holds of budgets for the time that the store is away, with its journal beside the evidence spool, whose folder is this
 * process's alone. Undefined without a spool, where nothing goes out while Postgres is away. Where nothing is to be held, what an earlier
 * process let out is settled all the same.
 */
export async function openSlices(
  options: Omit<SlicesOptions, 'journal' | 'share' | 'ttlMs'> & {
    readonly config: Pick<EnforcementConfiguration, 'EVIDENCE' | 'SPOOL_DIR' | 'PROVISIONAL_CHARGE_SLICE' | 'PROVISIONAL_CHARGE_SLICE_TTL'>
  },
): Promise<BudgetSlices | undefined> {
  const { config, ...rest } = options
  if (config.EVIDENCE === 'write-through') return undefined
  const journal = await SpendJournal.open(join(config.SPOOL_DIR, 'spend'), options.logger)
  return new BudgetSlices({ ...rest, journal, share: config.PROVISIONAL_CHARGE_SLICE, ttlMs: config.PROVISIONAL_CHARGE_SLICE_TTL })
}
