import { demandedHolder, onDatabase } from '../compact/installation-database.ts'
import { openKek } from '../compact/kek.ts'
import { confirmRestored } from '../compact/restored.ts'
import type { CommandContext } from './command.ts'

/** After a dump was restored: takes the database into service. Any number of times. */
export async function ledgerRestored({ output, env }: CommandContext): Promise<void> {
  const holder = demandedHolder(env)
  await onDatabase(env, async (database) => {
    const done = await confirmRestored(database, await openKek(database, holder))
    const told =
      done === undefined
        ? 'This database is the one that was served before; nothing was changed.'
        : `The ledgers of ${done.zones} zones say that they were restored; ${done.retiredKeys} signing keys are retired.`
    output.line(output.json ? JSON.stringify({ restored: done !== undefined, ...done }) : told)
    if (done !== undefined) output.note('Repeat the revocations that were made after the backup: they are not in it.')
  })
}
