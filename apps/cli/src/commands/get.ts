import { callService, listAll } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import { table } from '../output.ts'
import type { CommandContext } from './command.ts'
import { findNamed, findZone, NAMED_NOUNS, type Named, type NamedNoun } from './find.ts'

/** Nouns that can be listed, with the columns a table of them has. */
const COLUMNS: Readonly<Record<string, readonly string[]>> = {
  zone: ['name', 'id', 'labels'],
  application: ['name', 'id', 'labels'],
  resource: ['name', 'id', 'identifier', 'upstream'],
  provider: ['name', 'id', 'kind', 'hosts'],
  policy: ['name', 'id'],
  session: ['id', 'application', 'kind', 'state', 'expiresAt'],
  delegation: ['id', 'from', 'to', 'state', 'expiresAt'],
  revocation: ['kind', 'id', 'at', 'reason'],
  token: ['name', 'id', 'roles', 'expiresAt'],
}

export const NOUNS = Object.keys(COLUMNS)

const PATHS: Readonly<Record<string, string>> = {
  ...NAMED_NOUNS,
  session: 'sessions',
  delegation: 'delegations',
  revocation: 'revocations',
}

/** Lists a noun, or shows one row of it. Plurals are taken too. */
export async function get({ output, context }: CommandContext, options: { noun: string; name?: string; zone?: string }): Promise<void> {
  const noun = singular(options.noun)
  const where = context()
  const rows = await rowsOf(noun, where, options.zone)
  const chosen = options.name === undefined ? rows : rows.filter((row) => row.id === options.name || row.name === options.name)
  if (options.name !== undefined && chosen.length === 0) throw new CliError(`There is no ${noun} ${options.name}.`)
  if (output.json || options.name !== undefined) {
    output.line(JSON.stringify(options.name === undefined ? chosen : chosen[0], null, output.json ? 0 : 2))
    return
  }
  const columns = COLUMNS[noun] ?? []
  for (const line of table(
    columns,
    chosen.map((row) => columns.map((column) => cell(row[column]))),
  ))
    output.line(line)
}

async function rowsOf(noun: string, where: ReturnType<CommandContext['context']>, zoneName: string | undefined): Promise<Named[]> {
  if (noun === 'zone') return listAll<Named>(where.api, where.token, '/v1/zones')
  if (noun === 'token') return listAll<Named>(where.api, where.token, '/v1/tokens')
  const zone = await findZone(where, zoneName)
  return listAll<Named>(where.api, where.token, `/v1/zones/${zone.id}/${PATHS[noun]}`)
}

function singular(noun: string): string {
  const found = NOUNS.find((known) => noun === known || noun === PATHS[known] || noun === `${known}s`)
  if (found === undefined) throw new CliError(`There is no noun ${noun}.`, `There are: ${NOUNS.join(', ')}.`, { exitCode: 2 })
  return found
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return '-'
  return Array.isArray(value) ? value.join(',') : String(value)
}

type DeleteAnswer = {
  readonly dryRun: boolean
  readonly deleted: boolean
  readonly revokes: readonly { kind: string; id: string }[]
  readonly affects: Readonly<Record<string, number>>
}

/** Deletes an Application, Resource, Provider, Policy or Zone, which revokes what lives on it; `dryRun` only shows what that is. */
export async function remove(
  { output, context }: CommandContext,
  options: { noun: string; name: string; zone?: string; dryRun: boolean },
): Promise<void> {
  const noun = singular(options.noun)
  const where = context()
  let path: string
  if (noun === 'zone') path = `/v1/zones/${(await findZone(where, options.name)).id}`
  else if (Object.hasOwn(NAMED_NOUNS, noun)) {
    const zone = await findZone(where, options.zone)
    const row = await findNamed(where, zone, noun as NamedNoun, options.name)
    path = `/v1/zones/${zone.id}/${PATHS[noun]}/${row.id}`
  } else throw new CliError(`A ${noun} cannot be deleted.`, 'To end its authority use `caracal revoke`.', { exitCode: 2 })
  const answer = await callService<DeleteAnswer>(where.api, where.token, path, {
    method: 'DELETE',
    query: { dryRun: options.dryRun ? 'true' : undefined },
  })
  if (output.json) return output.line(JSON.stringify(answer))
  for (const revoked of answer.revokes) output.line(`${options.dryRun ? 'would revoke' : 'revoked'} ${revoked.kind} ${revoked.id}`)
  for (const [what, count] of Object.entries(answer.affects))
    output.line(`${options.dryRun ? 'would affect' : 'affected'} ${count} ${what}`)
  output.line(options.dryRun ? 'nothing was changed' : `deleted ${noun} ${options.name}`)
}
