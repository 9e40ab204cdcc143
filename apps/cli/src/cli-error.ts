/** An error that is told to the person in words: what is wrong and what to do next. No stack is shown. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly fix: string | undefined
  readonly exitCode: number
  /** Further lines, e.g. one for each wrong field. */
  readonly lines: readonly string[]

  /** The code of the service's refusal, where there was one. */
  readonly code: string | undefined

  constructor(
    message: string,
    fix?: string,
    options: { exitCode?: number; lines?: readonly string[]; code?: string | undefined; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.fix = fix
    this.exitCode = options.exitCode ?? 1
    this.code = options.code
    this.lines = options.lines ?? []
  }
}
