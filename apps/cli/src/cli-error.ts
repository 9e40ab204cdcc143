/** An error that is told to the person in words: what is wrong and what to do next. No stack is shown. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly fix: string | undefined
  readonly exitCode: number
  /** Further lines, e.g. one for each wrong field. */
  readonly lines: readonly string[]

  constructor(message: string, fix?: string, options: { exitCode?: number; lines?: readonly string[] } = {}) {
    super(message)
    this.fix = fix
    this.exitCode = options.exitCode ?? 1
    this.lines = options.lines ?? []
  }
}
