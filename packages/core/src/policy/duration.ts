import type { Seconds } from '../time.ts'

const UNITS = { s: 1, m: 60, h: 3600, d: 86_400 } as const

/** A span as people write it: a whole number and one unit (`300s`, `15m`, `1h`, `7d`). `null` when it is not one. */
export function parseDuration(text: string): Seconds | null {
  const match = /^([1-9][0-9]{0,6})([smhd])$/.exec(text)
  if (match === null) return null
  return Number(match[1]) * UNITS[match[2] as keyof typeof UNITS]
}

/** The shortest spelling that `parseDuration` reads back. */
export function formatDuration(seconds: Seconds): string {
  for (const unit of ['d', 'h', 'm'] as const) {
    if (seconds % UNITS[unit] === 0) return `${seconds / UNITS[unit]}${unit}`
  }
  return `${seconds}s`
}
