import type { Application, ApplicationKey, CertificateName, CredentialId, ZoneId } from '@caracal/core'
import type { ReplicaState } from '../replica/replica-state.ts'
import type { ZoneState } from '../replica/zone-state.ts'

export type KnownApiKey = ApplicationKey & { readonly kind: 'api_key'; readonly digestBytes: Buffer }
export type KnownCertificate = ApplicationKey & { readonly kind: 'certificate' }

export type CallerDirectoryOptions = {
  readonly state: ReplicaState
  /** Name or id of the one zone whose applications may call here; undefined: any. */
  readonly zone?: string | undefined
  /** Reads a zone anew because something in it is not known; see `ConfigurationFollower.refresh`. */
  readonly refresh?: ((zone: ZoneId) => Promise<void>) | undefined
}

/**
 * Who may call, of all zones that this replica serves: one lookup in memory for each question. The index is made anew when a zone
 * changed, so what is revoked is gone from it with the configuration, and before that by its revocation.
 */
export class CallerDirectory {
  readonly #options: CallerDirectoryOptions
  #made = -1
  #zones: readonly ZoneState[] = []
  #apiKeys: ReadonlyMap<CredentialId, KnownApiKey> = new Map()
  #certificates: ReadonlyMap<CertificateName, readonly KnownCertificate[]> = new Map()

  constructor(options: CallerDirectoryOptions) {
    this.#options = options
  }

  apiKey(id: CredentialId): KnownApiKey | undefined {
    return this.#current().#apiKeys.get(id)
  }

  /** Every binding of any of these names. */
  certificates(names: readonly CertificateName[]): readonly KnownCertificate[] {
    const certificates = this.#current().#certificates
    return names.flatMap((name) => certificates.get(name) ?? [])
  }

  /** The application with this id; by name only where there is one zone that it can be of. */
  application(idOrName: string): Application | undefined {
    const zones = this.#current().#zones
    for (const zone of zones) {
      const found = zone.applications.get(idOrName as Application['id'])
      if (found !== undefined) return found
    }
    return zones.length === 1 ? zones[0]?.applicationsByName.get(idOrName) : undefined
  }

  /** The one zone that callers can be of; undefined while there are several or none. */
  onlyZone(): ZoneId | undefined {
    const zones = this.#current().#zones
    return zones.length === 1 ? zones[0]?.snapshot.id : undefined
  }

  /** Reads the one zone anew (read your writes). With several a new key counts as soon as the broadcast of it came. */
  async refresh(): Promise<void> {
    const zone = this.onlyZone()
    if (zone !== undefined) await this.#options.refresh?.(zone)
  }

  #current(): this {
    const { state, zone: only } = this.#options
    if (this.#made === state.generation()) return this
    const generation = state.generation()
    const zones = state.zones().filter(({ snapshot }) => only === undefined || snapshot.id === only || snapshot.name === only)
    const keys = zones.flatMap(({ snapshot }) => snapshot.applicationKeys ?? [])
    this.#zones = zones
    this.#apiKeys = new Map(
      keys.flatMap((key): [CredentialId, KnownApiKey][] =>
        key.kind === 'api_key' ? [[key.id, { ...key, digestBytes: Buffer.from(key.digest, 'hex') }]] : [],
      ),
    )
    this.#certificates = Map.groupBy(
      keys.flatMap((key) => (key.kind === 'certificate' ? [key] : [])),
      ({ certificate }) => certificate,
    )
    this.#made = generation
    return this
  }
}
