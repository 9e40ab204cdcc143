import { listAll } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import type { Context } from '../context.ts'

export type Named = { readonly id: string; readonly name: string } & Readonly<Record<string, unknown>>

/** The nouns that have names, as the API's path says them. */
export const NAMED_NOUNS = {
  application: 'applications',
  resource: 'resources',
  provider: 'providers',
  policy: 'policies',
  budget: 'budgets',
} as const

export type NamedNoun = keyof typeof NAMED_NOUNS

/** All zones; that there is none is an error, because nothing can be looked for then. */
export async function listZones(context: Context): Promise<[Named, ...Named[]]> {
  const [first, ...more] = await listAll<Named>(context.api, context.token, '/v1/zones')
  if (first === undefined) throw new CliError('There is no zone yet.', 'Apply documents that make one: `caracal apply -f <folder>`.')
  return [first, ...more]
}

/** The zone with this name or id; without one, the only zone there is. */
export async function findZone(context: Context, nameOrId: string | undefined): Promise<Named> {
  const zones = await listZones(context)
  if (nameOrId === undefined) {
    const [only, another] = zones
    if (another !== undefined)
      throw new CliError(`There are several zones: ${zones.map((zone) => zone.name).join(', ')}.`, 'Say which one with --zone.', {
        exitCode: 2,
      })
    return only
  }
  const found = zones.find((zone) => zone.id === nameOrId || zone.name === nameOrId)
  if (found === undefined)
    throw new CliError(`There is no zone ${nameOrId}.`, `There are: ${zones.map((zone) => zone.name).join(', ') || 'none'}.`)
  return found
}

/** The row of a zone with this name or id. */
export async function findNamed(context: Context, zone: Named, noun: NamedNoun, nameOrId: string): Promise<Named> {
  const rows = await listAll<Named>(context.api, context.token, `/v1/zones/${zone.id}/${NAMED_NOUNS[noun]}`)
  const found = rows.find((row) => row.id === nameOrId || row.name === nameOrId)
  if (found === undefined)
    throw new CliError(
      `There is no ${noun} ${nameOrId} in zone ${zone.name}.`,
      `There are: ${rows.map((row) => row.name).join(', ') || 'none'}.`,
    )
  return found
}
