import { readFileSync } from 'node:fs'

/** Ticks of the processor clock in a second, as Linux reports them to every program: USER_HZ. */
const TICKS = 100

/** Processes by the name under which their time is reported; several of one name are added up. */
export type Watched = readonly { readonly name: string; readonly pid: number; readonly withChildren?: boolean }[]

/** Microseconds of processor time, user and system, by name. Empty where there is no `/proc`. */
export type ProcessorTime = Readonly<Record<string, number>>

/** What the processes have used since they started. One that is gone counts as nothing. */
export function processorTime(watched: Watched): ProcessorTime {
  const sums: Record<string, number> = {}
  for (const { name, pid, withChildren } of watched) {
    const pids = withChildren ? [pid, ...childrenOf(pid)] : [pid]
    const spent = pids.reduce((sum, one) => sum + ticksOf(one, one === pid && withChildren === true), 0)
    sums[name] = (sums[name] ?? 0) + (spent * 1_000_000) / TICKS
  }
  return sums
}

/** Microseconds per request between two looks, by name. */
export function perRequest(before: ProcessorTime, after: ProcessorTime, requests: number): ProcessorTime {
  if (requests === 0) return {}
  return Object.fromEntries(Object.entries(after).map(([name, time]) => [name, Math.round((time - (before[name] ?? 0)) / requests)]))
}

function childrenOf(pid: number): number[] {
  return (read(`/proc/${pid}/task/${pid}/children`) ?? '').split(' ').filter(Boolean).map(Number)
}

/** proc(5), `stat`: utime and stime are the 14th and 15th member; cutime and cstime, of children that ended, follow. */
function ticksOf(pid: number, withEnded: boolean): number {
  const stat = read(`/proc/${pid}/stat`)
  if (stat === undefined) return 0
  const members = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  const own = (members[11] ?? 0) + (members[12] ?? 0)
  return withEnded ? own + (members[13] ?? 0) + (members[14] ?? 0) : own
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
