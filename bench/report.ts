import { type Figure, format } from './figure.ts'
import type { Machine } from './machine.ts'

/** What else somebody needs who wants to run it again and compare. */
export type HowItRan = {
  /** Of this run and its Node. */
  readonly flags: readonly string[]
  readonly secondsOfOneMeasurement: number
  readonly turns: number
  readonly generator: string
  readonly loops: string
}

export type Results = {
  readonly machine: Machine
  readonly versions: Readonly<Record<string, string>>
  readonly at: string
  readonly run: HowItRan
  /** Resident MiB of each process after the last scenario on a running installation; empty when there was none. */
  readonly memory: Readonly<Record<string, number>>
  readonly figures: readonly Figure[]
}

/** The table as a terminal shows it. */
export function table(results: Results): string {
  const rows = [['What', 'Target', 'Figure', 'Ratio', 'OK', 'Errors'], ...results.figures.map(cells)]
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const lines = rows.map((row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  '),
  )
  return [about(results), '', ...lines].join('\n')
}

/** The table of docs/benchmarks.md, ready to paste. */
export function markdown(results: Results): string {
  const rows = results.figures.map((figure) => `| ${[...cells(figure), figure.note].join(' | ')} |`)
  return [about(results), '', '| What | Target | Figure | Ratio | OK | Errors | Note |', '|---|---|---|---|---|---|---|', ...rows].join(
    '\n',
  )
}

/** Microseconds of processor time per request, one column per process: what to tune. */
export function processorTable(figures: readonly Figure[]): string {
  return figures
    .filter(({ cpu }) => cpu !== undefined && Object.keys(cpu).length > 0)
    .map(({ name, cpu = {}, more = {} }) => {
      const used = Object.entries(cpu).filter(([, time]) => time > 0)
      const sum = used.reduce((total, [, time]) => total + time, 0)
      const latency = Object.entries(more).map(([what, value]) => `${what} ${format(value)}`)
      return [
        `\n${name}: ${sum} µs of processor per request`,
        `  ${used.map(([process, time]) => `${process} ${time}`).join('   ')}`,
        `  ${latency.join('   ')}`,
      ].join('\n')
    })
    .join('\n')
}

function cells(figure: Figure): string[] {
  const ratio = figure.ratio === null ? '–' : `${(figure.ratio * 100).toFixed(0)} %`
  const ok = figure.ok === null ? '–' : figure.ok ? 'yes' : 'no'
  return [figure.name, figure.target, `${format(figure.value)} ${figure.unit}`, ratio, ok, String(figure.errors)]
}

function about({ machine, versions, at }: Results): string {
  const disk = `${format(machine.diskSyncMs)} ms to sync 4 KiB${machine.diskIsMemory ? ' (in memory: nothing was durable)' : ''}`
  const used = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return `${at.slice(0, 10)}, ${machine.cores} × ${machine.cpu}, ${machine.memoryGiB} GiB, ${machine.system}, ${disk}; ${used.join(', ')}`
}
