import { CliError } from '../cli-error.ts'
import { demandedHolder, holderIn, onDatabase } from '../compact/installation-database.ts'
import { adoptKek, NAMES } from '../compact/kek.ts'
import type { CommandContext } from './command.ts'

/**
 * After ZONE_KEK or, where there is none, the password of the database changed: the new one opens the key of the installation from now
 * on. What is sealed stays as it is; processes that run go on.
 */
export async function adopt({ output, env }: CommandContext): Promise<void> {
  const holder = demandedHolder(env)
  const former = holderIn(env, '_PREVIOUS')
  if (former === undefined)
    throw new CliError('The former key is needed.', 'Set DB_PASSWORD_PREVIOUS, or ZONE_KEK_PREVIOUS, or one of them with _FILE.', {
      exitCode: 2,
    })
  await onDatabase(env, async (database) => {
    const changed = await adoptKek(database, former, holder)
    if (output.json) return output.line(JSON.stringify({ adopted: changed, by: NAMES[holder.by] }))
    output.line(changed ? `${NAMES[holder.by]} opens the key of this installation now.` : `${NAMES[holder.by]} opens it already.`)
  })
}
