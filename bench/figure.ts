import type { ProcessorTime } from './processor-time.ts'

/** One measured value with what it is compared to. `ok` is null where nothing is demanded. */
export type Figure = {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** What the ratio refers to, in the same run; null where the target is absolute. */
  readonly baseline: number | null
  readonly ratio: number | null
  readonly target: string
  readonly ok: boolean | null
  readonly errors: number
  readonly note: string
  /** Microseconds of processor time per request, by process. */
  readonly cpu?: ProcessorTime
  /** Latencies in milliseconds and whatever else was counted. */
  readonly more?: Readonly<Record<string, number>>
}

type Measured = Pick<Figure, 'name' | 'value' | 'unit'> & Partial<Pick<Figure, 'errors' | 'note' | 'cpu' | 'more'>>

/** A value that must reach (`least`) or must not pass (`most`) a limit. Errors spoil it in any case. */
export function absolute(measured: Measured, limit: { readonly least: number } | { readonly most: number } | null): Figure {
  const errors = measured.errors ?? 0
  const held = limit === null ? null : 'least' in limit ? measured.value >= limit.least : measured.value <= limit.most
  const target = limit === null ? '–' : 'least' in limit ? `≥ ${format(limit.least)}` : `≤ ${format(limit.most)}`
  return {
    note: '',
    ...measured,
    errors,
    baseline: null,
    ratio: null,
    target: limit === null ? '–' : `${target} ${measured.unit}`,
    ok: held === null ? null : held && errors === 0,
  }
}

/** A value as a share of a baseline of the same run; `least` of it is demanded, or nothing. */
export function relative(measured: Measured, baseline: number, least: number | null): Figure {
  const errors = measured.errors ?? 0
  const ratio = measured.value / baseline
  return {
    note: '',
    ...measured,
    errors,
    baseline,
    ratio,
    target: least === null ? '–' : `≥ ${Math.round(least * 100)} %`,
    ok: least === null ? null : ratio >= least && errors === 0,
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0
}

/** Three digits that mean something, thousands apart. */
export function format(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString('en', { maximumFractionDigits: digits })
}
