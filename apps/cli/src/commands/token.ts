import { ROLES } from '@caracal/core'
import { callService } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import type { CommandContext } from './command.ts'
import { findZone } from './find.ts'

export type TokenOptions = { readonly name: string; readonly roles: readonly string[]; readonly zone?: string; readonly days: string }

type TokenAnswer = { readonly id: string; readonly token: string; readonly roles: readonly string[]; readonly expiresAt: number }

/** Makes an admin token and shows it once: alone on stdout, so that it fits into a file or `$(…)`. */
export async function createToken({ output, context }: CommandContext, options: TokenOptions): Promise<void> {
  const unknown = options.roles.find((role) => !ROLES.some((known) => known === role))
  if (unknown !== undefined) throw new CliError(`There is no role ${unknown}.`, `Roles: ${ROLES.join(', ')}.`, { exitCode: 2 })
  const days = Number(options.days)
  if (!Number.isInteger(days) || days < 1 || days > 365)
    throw new CliError('--days is a whole number from 1 to 365.', undefined, { exitCode: 2 })
  const where = context()
  const zone = options.zone === undefined ? null : (await findZone(where, options.zone)).id
  const answer = await callService<TokenAnswer>(where.api, where.token, '/v1/tokens', {
    body: { name: options.name, roles: options.roles, zone, expiresAt: Date.now() + days * 86_400_000 },
  })
  if (output.json) return output.line(JSON.stringify(answer))
  output.line(answer.token)
  output.note(`${answer.id}, ${answer.roles.join(', ')}, until ${new Date(answer.expiresAt).toISOString()}. It is shown this once.`)
}
