import { styleText } from 'node:util'

/** What a command prints to: injected, so that a command can be tested without a process. */
export type Output = {
  readonly json: boolean
  line(text?: string): void
  /** Progress and remarks: on stderr, so that a pipe gets data only. */
  note(text: string): void
}

export function processOutput(json: boolean): Output {
  return {
    json,
    line: (text = '') => void process.stdout.write(`${text}\n`),
    note: (text) => void process.stderr.write(`${text}\n`),
  }
}

/** Whoever reads may stop reading (`caracal get … | head`): then the rest is dropped and the command's exit code stays its own. */
export function surviveClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  }
}

type Colour = Parameters<typeof styleText>[0]

/** Colour on a terminal, plain text in a pipe or under NO_COLOR. */
export function colour(format: Colour, text: string): string {
  return styleText(format, text, { stream: process.stdout })
}

/** Columns aligned with two spaces; the head is dim. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)))
  const format = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  return [colour('dim', format(head)), ...rows.map(format)]
}
