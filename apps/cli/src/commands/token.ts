import { ROLES, type Role } from '@caracal/core'
import { findZoneByName } from '@caracal/postgres'
import { callService } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import { createTokenInDatabase } from '../compact/first-token.ts'
import { demandedHolder, onDatabase } from '../compact/installation-database.ts'
import { openKek } from '../compact/kek.ts'
import type { CommandContext } from './command.ts'
import { findZone } from './find.ts'

export type TokenOptions = {
  readonly name: string
  readonly roles: readonly string[]
  readonly zone?: string
  readonly days: string
  /** Not through the API but in the database of a compact deployment: the first token of all. */
  readonly database: boolean
}

type TokenAnswer = { readonly id: string; readonly token: string; readonly roles: readonly string[]; readonly expiresAt: number }

/** Makes an admin token and shows it once: alone on stdout, so that it fits into a file or `$(…)`. */
export async function createToken(command: CommandContext, options: TokenOptions): Promise<void> {
  const { output, context } = command
  const unknown = options.roles.find((role) => !ROLES.some((known) => known === role))
  if (unknown !== undefined) throw new CliError(`There is no role ${unknown}.`, `Roles: ${ROLES.join(', ')}.`, { exitCode: 2 })
  const days = Number(options.days)
  if (!Number.isInteger(days) || days < 1 || days > 365)
    throw new CliError('--days is a whole number from 1 to 365.', undefined, { exitCode: 2 })
  const expiresAt = Date.now() + days * 86_400_000
  if (options.database) return await createFirstToken(command, options, expiresAt)
  const where = context()
  const zone = options.zone === undefined ? null : (await findZone(where, options.zone)).id
  const answer = await callService<TokenAnswer>(where.api, where.token, '/v1/tokens', {
    body: { name: options.name, roles: options.roles, zone, expiresAt },
  })
  tell(output, answer)
}

async function createFirstToken({ output, env }: CommandContext, options: TokenOptions, expiresAt: number): Promise<void> {
  await onDatabase(env, async (database) => {
    const kek = await openKek(database, demandedHolder(env))
    const found = options.zone === undefined ? null : await findZoneByName(database.query, options.zone)
    if (found === undefined) throw new CliError(`There is no zone ${options.zone}.`)
    const wanted = { name: options.name, roles: options.roles as readonly Role[], zone: found?.id ?? null, expiresAt }
    const { token, row } = await createTokenInDatabase(database, kek, wanted)
    tell(output, { ...row, token })
  })
}

function tell(output: CommandContext['output'], answer: TokenAnswer): void {
  output.line(output.json ? JSON.stringify(answer) : answer.token)
  if (output.json) return
  output.note(`${answer.id}, ${answer.roles.join(', ')}, until ${new Date(answer.expiresAt).toISOString()}. It is shown this once.`)
}
