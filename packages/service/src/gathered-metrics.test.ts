import { expect, test } from 'vitest'
import { mergeMetrics } from './gathered-metrics.ts'

const gateway = `# HELP caracal_ready 1 when this replica can serve safely.
# TYPE caracal_ready gauge
caracal_ready 1

# HELP caracal_seconds Time.
# TYPE caracal_seconds histogram
caracal_seconds_bucket{le="1",route="/a b"} 2
caracal_seconds_sum{route="/a b"} 0.5

# HELP process_cpu_seconds_total CPU.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 3
`
const sts = `# HELP caracal_ready 1 when this replica can serve safely.
# TYPE caracal_ready gauge
caracal_ready 0

# HELP caracal_build_info Always 1.
# TYPE caracal_build_info gauge
caracal_build_info{role="sts",version="1"} 1

# HELP process_cpu_seconds_total CPU.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 3
`

test('a family stands once, its samples under the role of who says them; what is the process’s own is said once', () => {
  expect(
    mergeMetrics({ role: 'gateway', text: gateway }, [{ role: 'sts', text: sts }]),
  ).toBe(`# HELP caracal_ready 1 when this replica can serve safely.
# TYPE caracal_ready gauge
caracal_ready{role="gateway"} 1
caracal_ready{role="sts"} 0

# HELP caracal_seconds Time.
# TYPE caracal_seconds histogram
caracal_seconds_bucket{role="gateway",le="1",route="/a b"} 2
caracal_seconds_sum{role="gateway",route="/a b"} 0.5

# HELP process_cpu_seconds_total CPU.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total{role="gateway"} 3

# HELP caracal_build_info Always 1.
# TYPE caracal_build_info gauge
caracal_build_info{role="sts",version="1"} 1
`)
})

test('what is of a thread is said by the role at the edge and by who speaks for the other thread', () => {
  const text =
    '# TYPE nodejs_heap_size_used_bytes gauge\nnodejs_heap_size_used_bytes 5\n\n# TYPE caracal_event_loop_lag_seconds gauge\ncaracal_event_loop_lag_seconds 1\n'
  const merged = mergeMetrics({ role: 'gateway', text }, [
    { role: 'sts', text, ofThread: true },
    { role: 'api', text, ofThread: false },
  ])
  expect([...merged.matchAll(/^(\w+)\{role="(\w+)"\}/gm)].map(([, name, role]) => `${name} ${role}`)).toEqual([
    'nodejs_heap_size_used_bytes gateway',
    'nodejs_heap_size_used_bytes sts',
    'caracal_event_loop_lag_seconds gateway',
    'caracal_event_loop_lag_seconds sts',
  ])
})
