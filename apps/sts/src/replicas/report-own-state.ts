import type { Zones } from '../zones/zones.ts'
import type { ReplicaDesk } from './replica-desk.ts'

const EVERY_MS = 2_000

/** The STS decides too: what it serves stands in the activation status like that of every other replica (P-023). */
export function reportOwnState(options: { readonly replicas: ReplicaDesk; readonly zones: Zones; readonly replica: string }): {
  stop(): void
} {
  const { replicas, zones, replica } = options
  const report = () => {
    const loaded = Object.fromEntries(
      zones.all().map(({ snapshot, policies }) => [
        snapshot.id,
        {
          version: snapshot.version,
          policy: policies.ok ? (snapshot.policy?.setVersion ?? null) : null,
          ...(policies.ok ? {} : { error: policies.error.slice(0, 2000) }),
        },
      ]),
    )
    void replicas.sync({ v: 1, replica, role: 'sts', loaded })
  }
  report()
  const timer = setInterval(report, EVERY_MS)
  timer.unref()
  return { stop: () => clearInterval(timer) }
}
