import type { Metrics } from './metrics.ts'

/**
 * The histogram of how long revocations take to be refused here (P-055): from the moment that the revoking transaction carries, which is
 * before its commit, until this replica refuses and has cut what named it. Seconds; two machines measure it by their own clocks.
 */
export function revocationPropagation(metrics: Metrics): (seconds: number) => void {
  const histogram = metrics.histogram(
    'caracal_revocation_propagation_seconds',
    'Time from the transaction of a revocation until this replica refuses what it names.',
    [],
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
  )
  return (seconds) => histogram.observe(seconds)
}
