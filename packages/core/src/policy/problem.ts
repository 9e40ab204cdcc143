/** One thing wrong with a policy document: where it stands in the text (from 1; absent for JSON) and which field it is. */
export type PolicyProblem = {
  readonly line?: number
  readonly column?: number
  /** E.g. `rules[2].limits.maxTtl`; empty for the document itself. */
  readonly path: string
  readonly message: string
}

/** All problems, one per line, as `line:column path: message`. */
export function describeProblems(problems: readonly PolicyProblem[], file?: string): string {
  return problems
    .map(({ line, column, path, message }) => {
      const place = [file, line, column].filter((part) => part !== undefined).join(':')
      return [place, path === '' ? '' : `${path}:`, message].filter((part) => part !== '').join(' ')
    })
    .join('\n')
}
