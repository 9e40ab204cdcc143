import type { Metrics } from './metrics.ts'

/**
 * How old what a deciding replica knows may be: `caracal_revocation_view_*` and `caracal_policy_*`. An age counts from the last time that
 * the source confirmed it, before the first time from the start of the process. Returns what a policy that does not load calls.
 */
export function observeFreshness(
  metrics: Metrics,
  now: {
    readonly revocations: { size(): number; unfit(): unknown; provenAgo(): number | null }
    /** Seconds since the source last said what is current; null before the first time. */
    readonly policyAge: () => number | null
  },
): () => void {
  const uptime = () => performance.now() / 1000
  metrics.gauge('caracal_revocation_view_entries', 'Revoked ids in the view of this replica.', [], (own) => own.set(now.revocations.size()))
  metrics.gauge('caracal_revocation_view_fresh', '1 when the view can vouch for what is not revoked.', [], (own) =>
    own.set(now.revocations.unfit() === null ? 1 : 0),
  )
  metrics.gauge('caracal_revocation_view_age_seconds', 'Since the view was last proven to be current.', [], (own) =>
    own.set(now.revocations.provenAgo() ?? uptime()),
  )
  metrics.gauge('caracal_policy_verified_age_seconds', 'Since the policies in use were last confirmed to be the active ones.', [], (own) =>
    own.set(now.policyAge() ?? uptime()),
  )
  const failures = metrics.counter('caracal_policy_load_failures_total', 'Zones whose active policy could not be loaded.')
  return () => failures.inc()
}
