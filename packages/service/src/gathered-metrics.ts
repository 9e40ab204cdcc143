import type { Metrics } from './metrics.ts'

/** What one role of a process with several would answer a scrape with. `ofThread`: it speaks for its thread, which is not the first's. */
export type RoleMetrics = { readonly role: string; readonly text: string; readonly ofThread?: boolean }

/** Asks the other roles of the process. */
export type OtherMetrics = () => Promise<readonly RoleMetrics[]>

/** Of one process, whichever of its roles says it. */
const OF_THE_PROCESS = /^process_/
/** Of one thread, whichever of its roles says it. */
const OF_THE_THREAD = /^(?:nodejs_|caracal_event_loop_)/

/** The metrics of a role whose scrape answers for the other roles of its process too; without others they are as they were. */
export function gatherMetrics(own: Metrics, role: string, others: OtherMetrics | undefined): Metrics {
  if (others === undefined) return own
  return {
    ...own,
    text: async () => {
      const [mine, theirs] = await Promise.all([own.text(), others()])
      return { body: mergeMetrics({ role, text: mine.body }, theirs), contentType: mine.contentType }
    },
  }
}

/**
 * One text of several (Prometheus text format 0.0.4): a family stands once, with the samples of all, each under the label `role` of who
 * says it. What is the process's own comes from the first only, what is a thread's own from who speaks for it.
 */
export function mergeMetrics(first: RoleMetrics, others: readonly RoleMetrics[]): string {
  const families = new Map<string, { readonly head: readonly string[]; readonly samples: string[] }>()
  for (const { role, text, ofThread = role === first.role } of [first, ...others]) {
    const saidBefore = (name: string) => (role !== first.role && OF_THE_PROCESS.test(name)) || (!ofThread && OF_THE_THREAD.test(name))
    let name = ''
    let head: string[] = []
    for (const line of text.split('\n')) {
      if (line === '') continue
      const described = /^# (HELP|TYPE) (\S+)/.exec(line)
      if (described !== null) {
        if (described[2] !== name) head = []
        name = described[2] ?? ''
        head.push(line)
        continue
      }
      if (line.startsWith('#') || saidBefore(name)) continue
      const family = families.get(name) ?? { head, samples: [] }
      families.set(name, family)
      family.samples.push(withRole(line, role))
    }
  }
  return `${[...families.values()].map(({ head, samples }) => [...head, ...samples].join('\n')).join('\n\n')}\n`
}

/** A sample that says its role already keeps it. */
function withRole(sample: string, role: string): string {
  const brace = sample.indexOf('{')
  const space = sample.indexOf(' ')
  if (brace === -1 || brace > space) return `${sample.slice(0, space)}{role="${role}"}${sample.slice(space)}`
  if (/[{,]role="/.test(sample.slice(brace))) return sample
  return `${sample.slice(0, brace + 1)}role="${role}",${sample.slice(brace + 1)}`
}
