import { callService } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import type { Context } from '../context.ts'
import { table } from '../output.ts'
import type { CommandContext } from './command.ts'
import { findNamed, findZone, type Named } from './find.ts'

export type UsageOptions = {
  readonly zone?: string
  /** Sums by this, in the place of single calls. */
  readonly by?: string
  readonly application?: string
  readonly resource?: string
  readonly budget?: string
  readonly session?: string
  readonly subject?: string
  readonly from?: string
  readonly to?: string
  readonly limit: string
}

const GROUPS = ['application', 'session', 'subject', 'resource', 'operation', 'day', 'hour']

type Row = Readonly<Record<string, unknown>>

/** What calls cost: the newest ones, or sums by a group. Only calls that a budget counted. */
export async function usage({ output, context }: CommandContext, options: UsageOptions): Promise<void> {
  const where = context()
  if (options.by !== undefined && !GROUPS.includes(options.by))
    throw new CliError(`There are no sums by ${options.by}.`, `There are: ${GROUPS.join(', ')}.`, { exitCode: 2 })
  const most = Number(options.limit)
  if (!Number.isInteger(most) || most < 1) throw new CliError('--limit is a whole number of at least 1.', undefined, { exitCode: 2 })
  const zone = await findZone(where, options.zone)
  const rows = await readRows(
    where,
    `/v1/zones/${zone.id}/usage${options.by === undefined ? '' : '/sums'}`,
    await queryOf(where, zone, options),
    most,
  )
  if (output.json) return output.line(JSON.stringify(rows))
  if (rows.length === 0) return output.note('No call was counted by a budget.')
  const lines = options.by === undefined ? calls(rows) : await sums(where, zone, options.by, rows)
  for (const line of lines) output.line(line)
}

function calls(rows: readonly Row[]): readonly string[] {
  return table(
    ['at', 'request', 'application', 'operation', 'amount', 'late'],
    rows.map((row) => [
      new Date(Number(row.at)).toISOString(),
      String(row.request),
      String(row.application),
      `${row.resource} ${row.operation ?? ''}`.trim(),
      money(row),
      row.late === true ? 'late' : '-',
    ]),
  )
}

/** People know applications by their names. */
async function sums(where: Context, zone: Named, by: string, rows: readonly Row[]): Promise<readonly string[]> {
  const names = by === 'application' ? await namesOf(where, zone) : new Map<string, string>()
  return table(
    [by, 'calls', 'amount'],
    rows.map((row) => [row.key === null ? '-' : (names.get(String(row.key)) ?? String(row.key)), String(row.calls), money(row)]),
  )
}

function money({ amount, currency }: Row): string {
  return currency === null ? '-' : `${amount} ${currency}`
}

async function namesOf(where: Context, zone: Named): Promise<Map<string, string>> {
  const applications = await readRows(where, `/v1/zones/${zone.id}/applications`, {}, Number.POSITIVE_INFINITY)
  return new Map(applications.map(({ id, name }) => [String(id), String(name)]))
}

async function queryOf(where: Context, zone: Named, options: UsageOptions): Promise<Record<string, string | undefined>> {
  const { by, session, subject } = options
  const idOf = async (noun: 'application' | 'budget', text: string | undefined) =>
    text === undefined ? undefined : (await findNamed(where, zone, noun, text)).id
  const resource = options.resource === undefined ? undefined : (await findNamed(where, zone, 'resource', options.resource)).identifier
  return {
    by,
    session,
    subject,
    resource: resource === undefined ? undefined : String(resource),
    application: await idOf('application', options.application),
    budget: await idOf('budget', options.budget),
    from: momentOf('from', options.from),
    to: momentOf('to', options.to),
  }
}

/** A date or a moment in UTC, as the API takes it. */
function momentOf(name: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const ms = /^\d{4}-\d{2}-\d{2}(?:T.*Z)?$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(ms))
    throw new CliError(`--${name} is a day (2026-03-17) or a moment in UTC (2026-03-17T10:00:00Z).`, undefined, { exitCode: 2 })
  return String(ms)
}

async function readRows(where: Context, path: string, query: Record<string, string | undefined>, most: number): Promise<Row[]> {
  const rows: Row[] = []
  for (let cursor: string | undefined; rows.length < most; ) {
    const limit = String(Math.min(500, most - rows.length))
    const page: { items: Row[]; next_cursor: string | null } = await callService(where.api, where.token, path, {
      query: { ...query, limit, cursor },
    })
    rows.push(...page.items)
    if (page.next_cursor === null) break
    cursor = page.next_cursor
  }
  return rows
}
