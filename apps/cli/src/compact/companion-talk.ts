import { ConfigurationError, type ConfigurationProblem } from '@caracal/service'

/** A role that runs in the other thread: by name, and where its metrics are. */
export type CompanionRole = { readonly name: string; readonly metrics: string | null }

/** What a companion thread says. `alive` answers `ask`, as often as it was asked. */
export type FromCompanion =
  | { readonly says: 'started'; readonly roles: readonly CompanionRole[]; readonly sts: string }
  | { readonly says: 'failed'; readonly why: Told }
  | { readonly says: 'alive' }

/** What it is told: whether it is alive, and to stop what it runs and end. */
export type ToCompanion = 'ask' | 'stop'

/** An error on its way between threads: only its text gets across. */
export type Told = { readonly name: string; readonly message: string; readonly problems?: readonly ConfigurationProblem[] }

/** An error that happened in the other thread. */
export class CompanionFailed extends Error {
  override readonly name = 'CompanionFailed'
}

export function tell(error: unknown): Told {
  if (error instanceof ConfigurationError) return { name: error.name, message: error.message, problems: error.problems }
  return error instanceof Error ? { name: error.name, message: error.message } : { name: 'Error', message: String(error) }
}

/** What is wrong with the configuration is that here, too: waiting does not help. */
export function untell({ name, message, problems }: Told): Error {
  return problems === undefined ? new CompanionFailed(`${name}: ${message}`) : new ConfigurationError(problems)
}
