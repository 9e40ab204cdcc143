import type { Zones } from '../zones/zones.ts'
import type { ReplicaDesk } from './replica-desk.ts'

/** What did not change is said again this often, what changed at once. */
const EVERY_MS = 5_000

/** Changes that come together are one report. */
const GATHER_MS = 20

export type OwnStateReport = { changed(): void; stop(): void }

/** The STS decides too: what it serves stands in the activation status like that of every other replica (P-023). */
export function reportOwnState(options: {
  readonly replicas: ReplicaDesk
  readonly zones: Zones
  readonly replica: string
}): OwnStateReport {
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
  let gathering: NodeJS.Timeout | undefined
  return {
    changed() {
      gathering ??= setTimeout(() => {
        gathering = undefined
        report()
      }, GATHER_MS)
    },
    stop() {
      clearInterval(timer)
      clearTimeout(gathering)
    },
  }
}
