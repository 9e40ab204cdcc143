import type { Context } from '../context.ts'
import type { Output } from '../output.ts'

/** What every command gets: where to print, where the services are, and a signal for Ctrl-C. */
export type CommandContext = {
  readonly output: Output
  /** Read when used, so that commands which need no service need no context. */
  readonly context: () => Context
  readonly env: NodeJS.ProcessEnv
}
