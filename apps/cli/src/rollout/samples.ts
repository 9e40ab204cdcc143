/** One number of a scrape, with its labels. */
export type Sample = { readonly labels: Readonly<Record<string, string>>; readonly value: number }

/** What a process said in the Prometheus text format, by name of the series. */
export type Samples = ReadonlyMap<string, readonly Sample[]>

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:\\.|[^"\\])*)"/g
const WORDS: Readonly<Record<string, number>> = { '+Inf': Number.POSITIVE_INFINITY, '-Inf': Number.NEGATIVE_INFINITY }

/** Reads the text format; lines that are no samples are left out. */
export function readSamples(text: string): Samples {
  const found = new Map<string, Sample[]>()
  for (const line of text.split('\n')) {
    const [, name, labels = '', value] = LINE.exec(line) ?? []
    if (name === undefined || value === undefined) continue
    const pairs = [...labels.matchAll(LABEL)].map(([, key = '', text = '']) => [key, unescaped(text)])
    const sample = { labels: Object.fromEntries(pairs) as Record<string, string>, value: WORDS[value] ?? Number(value) }
    found.set(name, [...(found.get(name) ?? []), sample])
  }
  return found
}

/** The highest value of a series among those whose labels are these; undefined when there is none. */
export function highest(samples: Samples, name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
  const values = valuesOf(samples, name, labels)
  return values.length === 0 ? undefined : Math.max(...values)
}

/** The sum, as of a counter with labels; undefined when there is none. */
export function total(samples: Samples, name: string): number | undefined {
  const values = valuesOf(samples, name, {})
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0)
}

function valuesOf(samples: Samples, name: string, labels: Readonly<Record<string, string>>): number[] {
  const wanted = Object.entries(labels)
  return (samples.get(name) ?? []).filter((one) => wanted.every(([key, value]) => one.labels[key] === value)).map(({ value }) => value)
}

function unescaped(text: string): string {
  return text.replaceAll(/\\(.)/g, (_, letter: string) => (letter === 'n' ? '\n' : letter))
}
