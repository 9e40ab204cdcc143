import { measureDecisions } from '../decide.ts'
import { absolute, type Figure } from '../figure.ts'

/** The decision alone, in this process: nothing is called over the network. */
export async function decisions({ seconds }: { readonly seconds: number }): Promise<Figure[]> {
  const times = measureDecisions(Math.min(200_000, seconds * 20_000))
  const slowest = times.reduce((worst, one) => (one.p50 > worst.p50 ? one : worst))
  return [
    absolute(
      {
        name: 'decision at 1,000 policies of 5 rules, p50',
        value: slowest.p50,
        unit: 'µs',
        note: `the slowest of ${times.length} kinds: ${slowest.title}; p99 ${slowest.p99.toFixed(1)} µs`,
        more: Object.fromEntries(
          times.flatMap(({ title, p50, p99 }) => [[`${title}, p50`, p50] as const, [`${title}, p99`, p99] as const]),
        ),
      },
      { most: 5 },
    ),
  ]
}
