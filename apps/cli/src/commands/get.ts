import { callService, listAll } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import type { Context } from '../context.ts'
import { table } from '../output.ts'
import type { CommandContext } from './command.ts'
import { findNamed, findZone, listZones, NAMED_NOUNS, type Named, type NamedNoun } from './find.ts'

/** Nouns that can be listed, with the columns a table of them has. */
const COLUMNS: Readonly<Record<string, readonly string[]>> = {
  zone: ['name', 'id', 'labels'],
  application: ['name', 'id', 'labels'],
  resource: ['name', 'id', 'identifier', 'upstream'],
  provider: ['name', 'id', 'kind', 'hosts'],
  policy: ['name', 'id'],
  budget: ['name', 'id', 'holder', 'limit', 'per', 'spent', 'reserved', 'remaining', 'resetsAt'],
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

/** Lists a noun, of one zone or of all, or shows one row of it. Plurals are taken too. */
export async function get({ output, context }: CommandContext, options: { noun: string; name?: string; zone?: string }): Promise<void> {
  const noun = singular(options.noun)
  const rows = await rowsOf(noun, context(), options.zone)
  if (options.name !== undefined) {
    const row = only(rows, noun, options.name)
    return output.line(JSON.stringify(row, null, output.json ? 0 : 2))
  }
  if (output.json) return output.line(JSON.stringify(rows))
  if (rows.length === 0) return output.note(`There are no ${PATHS[noun] ?? `${noun}s`}.`)
  const shownWhere = (column: string) => (rows.some((row) => row[column] !== undefined) ? [column] : [])
  const columns = [...shownWhere('zoneName'), ...(COLUMNS[noun] ?? []), ...shownWhere('revokedAt')]
  const head = columns.map((column) => (column === 'zoneName' ? 'zone' : column === 'revokedAt' ? 'revoked' : column))
  const cells = rows.map((row) => columns.map((column) => cell(column, row[column] ?? standingOf(row)[column])))
  for (const line of table(head, cells)) output.line(line)
}

/** The row with this name or id; a name may stand in several zones. */
function only(rows: readonly Named[], noun: string, name: string): Named {
  const [row, another] = rows.filter((one) => one.id === name || one.name === name)
  if (row === undefined) throw new CliError(`There is no ${noun} ${name}.`, `\`caracal get ${noun}\` lists them.`)
  if (another !== undefined)
    throw new CliError(`There is a ${noun} ${name} in several zones.`, 'Say which one with --zone, or give its id.', { exitCode: 2 })
  return row
}

/** Rows of one zone as they are; rows of several with `zoneName` to tell them apart. */
async function rowsOf(noun: string, where: Context, zoneName: string | undefined): Promise<Named[]> {
  if (noun === 'zone') return listAll<Named>(where.api, where.token, '/v1/zones')
  if (noun === 'token') return listAll<Named>(where.api, where.token, '/v1/tokens')
  const zones = zoneName === undefined ? await listZones(where) : [await findZone(where, zoneName)]
  const lists = await Promise.all(zones.map((zone) => listAll<Named>(where.api, where.token, `/v1/zones/${zone.id}/${PATHS[noun]}`)))
  if (zones.length === 1) return lists.flat()
  return zones.flatMap((zone, index) => (lists[index] ?? []).map((row) => ({ ...row, zoneName: zone.name })))
}

function singular(noun: string): string {
  const found = NOUNS.find((known) => noun === known || noun === PATHS[known] || noun === `${known}s`)
  if (found === undefined) throw new CliError(`There is no noun ${noun}.`, `There are: ${NOUNS.join(', ')}.`, { exitCode: 2 })
  return found
}

/** How a budget stands, beside what it is. */
function standingOf({ standing }: Named): Readonly<Record<string, unknown>> {
  return typeof standing === 'object' && standing !== null ? (standing as Record<string, unknown>) : {}
}

/** Moments are numbers of milliseconds on the wire and dates for people. */
function cell(column: string, value: unknown): string {
  if (value === null || value === undefined) return '-'
  if (typeof value === 'number' && /^at$|At$/.test(column)) return new Date(value).toISOString()
  if (column === 'limit' && typeof value === 'object') return Object.values(value).join(' ')
  return Array.isArray(value) ? value.join(',') : String(value)
}

type DeleteAnswer = {
  readonly dryRun: boolean
  readonly deleted: boolean
  readonly revokes: readonly { kind: string; id: string }[]
  readonly affects: Readonly<Record<string, number>>
}

/** Refuses what cannot be deleted, before anybody is asked whether to. */
export function deletable(noun: string): void {
  const known = singular(noun)
  if (known !== 'zone' && !Object.hasOwn(NAMED_NOUNS, known))
    throw new CliError(`A ${known} cannot be deleted.`, 'To end its authority use `caracal revoke`.', { exitCode: 2 })
}

/** Deletes an Application, Resource, Provider, Policy, Budget or Zone, which revokes what lives on it; `dryRun` only shows what that is. */
export async function remove(
  { output, context }: CommandContext,
  options: { noun: string; name: string; zone?: string; dryRun: boolean },
): Promise<void> {
  const noun = singular(options.noun)
  const where = context()
  deletable(noun)
  let path: string
  if (noun === 'zone') path = `/v1/zones/${(await findZone(where, options.name)).id}`
  else {
    const zone = await findZone(where, options.zone)
    const row = await findNamed(where, zone, noun as NamedNoun, options.name)
    path = `/v1/zones/${zone.id}/${PATHS[noun]}/${row.id}`
  }
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
