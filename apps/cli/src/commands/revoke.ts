import { isId, parseDuration, REVOCATION_KINDS, type RevocationKind } from '@caracal/core'
import { callService } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import type { CommandContext } from './command.ts'
import { findNamed, findZone, NAMED_NOUNS, type NamedNoun } from './find.ts'

export type RevokeOptions = {
  readonly kind: string
  readonly id: string
  readonly zone?: string
  readonly reason: string
  readonly dryRun: boolean
}

type RevokeAnswer = {
  readonly dryRun: boolean
  readonly kind: string
  readonly id: string
  readonly at: number | null
  readonly affects: Readonly<Record<string, number>>
}

export type RevokeMatchingOptions = {
  /** `application=name`, `resource=pattern`, `older-than=1h`. */
  readonly filter: readonly string[]
  readonly zone?: string
  readonly reason: string
  readonly dryRun: boolean
}

/** Ends every session, or with a resource every delegation for it, that all the filters match, in one step. */
export async function revokeMatching({ output, context }: CommandContext, options: RevokeMatchingOptions): Promise<void> {
  const given = new Map(options.filter.map((one) => [one.slice(0, one.indexOf('=')), one.slice(one.indexOf('=') + 1)]))
  for (const name of given.keys()) {
    if (!FILTERS.includes(name))
      throw new CliError(`${name || options.filter[0]} is not a filter.`, `Filters: ${FILTERS.join(', ')}.`, { exitCode: 2 })
  }
  const age = given.get('older-than')
  const olderThan = age === undefined ? undefined : parseDuration(age)
  if (olderThan === null) throw new CliError(`${age} is not a time.`, 'Write 30m, 12h or 7d.', { exitCode: 2 })
  const where = context()
  const zone = await findZone(where, options.zone)
  const named = given.get('application')
  const application = named === undefined ? undefined : (await findNamed(where, zone, 'application', named)).id
  const answer = await callService<Pick<RevokeAnswer, 'dryRun' | 'affects'>>(
    where.api,
    where.token,
    `/v1/zones/${zone.id}/revocations/matching`,
    {
      body: { filter: { application, resource: given.get('resource'), olderThan }, reason: options.reason },
      query: { dryRun: options.dryRun ? 'true' : undefined },
    },
  )
  if (output.json) return output.line(JSON.stringify(answer))
  for (const [what, count] of Object.entries(answer.affects)) output.line(`${options.dryRun ? 'would end' : 'ended'} ${count} ${what}`)
  if (options.dryRun) output.line('nothing was changed')
}

const FILTERS: readonly string[] = ['application', 'resource', 'older-than']

/** Revokes one id and everything below it, at once and at every replica. */
export async function revoke({ output, context }: CommandContext, options: RevokeOptions): Promise<void> {
  const kind = REVOCATION_KINDS.find((known) => known === options.kind)
  if (kind === undefined)
    throw new CliError(`${options.kind} cannot be revoked.`, `Kinds: ${REVOCATION_KINDS.join(', ')}.`, { exitCode: 2 })
  const where = context()
  const zone = await findZone(where, kind === 'zone' ? options.id : options.zone)
  const id = kind === 'zone' ? zone.id : await idOf(where, zone, kind, options.id)
  const answer = await callService<RevokeAnswer>(where.api, where.token, `/v1/zones/${zone.id}/revocations`, {
    body: { kind, id, reason: options.reason },
    query: { dryRun: options.dryRun ? 'true' : undefined },
  })
  if (output.json) return output.line(JSON.stringify(answer))
  for (const [what, count] of Object.entries(answer.affects)) output.line(`${options.dryRun ? 'would end' : 'ended'} ${count} ${what}`)
  output.line(options.dryRun ? `would revoke ${kind} ${id}; nothing was changed` : `revoked ${kind} ${id}`)
}

/** Applications, resources and providers may be given by name. */
async function idOf(
  where: Parameters<typeof findNamed>[0],
  zone: Parameters<typeof findNamed>[1],
  kind: RevocationKind,
  text: string,
): Promise<string> {
  if (Object.hasOwn(NAMED_NOUNS, kind)) return (await findNamed(where, zone, kind as NamedNoun, text)).id
  if (kind !== 'zone' && !isId(kind as 'mandate' | 'session' | 'delegation' | 'subject' | 'connection', text)) {
    throw new CliError(`${text} is not the id of a ${kind}.`, undefined, { exitCode: 2 })
  }
  return text
}
