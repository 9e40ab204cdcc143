import { readFileSync } from 'node:fs'
import type { Watched } from './processor-time.ts'

/** What each process holds in memory now (`VmRSS` of proc(5)), in MiB by name; one that is gone is left out. */
export function memory(watched: Watched): Readonly<Record<string, number>> {
  return Object.fromEntries(
    watched.flatMap(({ name, pid }) => {
      const held = resident(pid)
      return held === undefined ? [] : [[name, held]]
    }),
  )
}

/** Resident MiB of one process. */
export function resident(pid: number): number | undefined {
  try {
    const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kibibytes === undefined ? undefined : Math.round(Number(kibibytes) / 1_024)
  } catch {
    return undefined
  }
}
