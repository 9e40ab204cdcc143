import type { ZoneId } from '@caracal/core'

/** What self-verification found: `head` by the check of each minute (and before each signature), `tree` by the pass over everything. */
export type Finding = { readonly zone: ZoneId; readonly kind: 'head' | 'tree'; readonly detail: string }

/** Most findings of one log that are kept; one is enough to stop its signatures. */
const MOST = 100

/** Everything found and not since shown to be gone. */
export type Findings = {
  add(finding: Finding): void
  /** A check of this kind passed from beginning to end. */
  clear(zone: ZoneId, kind: Finding['kind']): void
  of(zone: ZoneId): readonly Finding[]
  all(): readonly Finding[]
}

export function collectFindings(options: {
  readonly onNew: (finding: Finding) => void
  readonly onGone: (zone: ZoneId) => void
}): Findings {
  const found = new Map<ZoneId, Map<string, Finding>>()
  return {
    add(finding) {
      const ofZone = found.get(finding.zone) ?? new Map<string, Finding>()
      found.set(finding.zone, ofZone)
      const key = `${finding.kind} ${finding.detail}`
      if (ofZone.has(key) || ofZone.size >= MOST) return
      ofZone.set(key, finding)
      options.onNew(finding)
    },
    clear(zone, kind) {
      const ofZone = found.get(zone)
      if (ofZone === undefined) return
      for (const [key, finding] of ofZone) if (finding.kind === kind) ofZone.delete(key)
      if (ofZone.size === 0) {
        found.delete(zone)
        options.onGone(zone)
      }
    },
    of: (zone) => [...(found.get(zone)?.values() ?? [])],
    all: () => [...found.values()].flatMap((ofZone) => [...ofZone.values()]),
  }
}
