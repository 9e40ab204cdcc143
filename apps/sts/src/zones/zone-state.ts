import { createPublicKey, type KeyObject } from 'node:crypto'
import {
  type Application,
  type ApplicationCredential,
  type ApplicationId,
  type CompiledPolicies,
  compilePolicies,
  type ProviderId,
  type PublicJwk,
  type Resource,
  type UnixMillis,
  type ZoneSnapshot,
} from '@caracal/core'
import { type ZoneKeyring, zoneKeyring } from '@caracal/enforcement'
import type { SealedSecret, ZoneKey } from '@caracal/postgres'
import type { AssertionKey } from '../client/client-assertion.ts'

/** An Application with what proves it, ready to compare with. */
export type Client = {
  readonly application: Application
  readonly secrets: readonly { readonly digest: string; readonly expiresAt: UnixMillis | null }[]
  readonly keys: readonly (AssertionKey & { readonly expiresAt: UnixMillis | null })[]
}

/** A key of a zone that is opened when it is first needed, and then kept. */
export type SealedKey<T> = {
  readonly kid: string
  /** Undefined: it does not open. */
  readonly opened: () => T | undefined
  /** It was needed and did not open. */
  readonly failed: () => boolean
}

/** The private half that signs now. */
export type Signer = { readonly kid: string; readonly key: KeyObject }

/** Policies as this replica decides with them; a set that does not compile is not replaced by another (P-024). */
export type ZonePolicies = { readonly ok: true; readonly value: CompiledPolicies | null } | { readonly ok: false; readonly error: string }

/** One zone in memory: everything a mint needs, imported and compiled once for each version. */
export type ZoneState = {
  readonly snapshot: ZoneSnapshot
  readonly keyring: ZoneKeyring
  readonly clients: ReadonlyMap<ApplicationId, Client>
  /** By identifier. */
  readonly resources: ReadonlyMap<string, Resource>
  readonly policies: ZonePolicies
  /** Sealed; opened only to be released. */
  readonly providerSecrets: ReadonlyMap<ProviderId, SealedSecret>
  /** Rows of its keys, so that what is due can be seen without asking Postgres. */
  readonly keys: readonly ZoneKey[]
  readonly pepper: Uint8Array | undefined
  readonly signer: Signer | undefined
  /** The same two as they are kept, for the state that comes after this one. */
  readonly sealed: SealedKeys
  /** Public Ed25519 keys of the zone's log. */
  readonly logKeys: readonly PublicJwk[]
}

export type SealedKeys = { readonly pepper: SealedKey<Uint8Array> | undefined; readonly signer: SealedKey<Signer> | undefined }

/** What the rows of one zone hold. */
export type ZoneRows = {
  readonly snapshot: ZoneSnapshot
  readonly credentials: readonly ApplicationCredential[]
  readonly providerSecrets: ReadonlyMap<ProviderId, SealedSecret>
  readonly keys: readonly ZoneKey[]
  readonly sealed: SealedKeys
  readonly logKeys: readonly PublicJwk[]
}

/** Builds the state of a zone. Policies and keys that did not change are taken over from `previous`, not made again (P-168). */
export function zoneState(rows: ZoneRows, previous?: ZoneState | undefined): ZoneState {
  const { snapshot, sealed } = rows
  return {
    snapshot,
    keyring: zoneKeyring(snapshot, previous?.keyring),
    clients: clientsOf(snapshot.applications, rows.credentials),
    resources: new Map(snapshot.resources.map((resource) => [resource.identifier, resource])),
    policies: policiesOf(snapshot, previous),
    providerSecrets: rows.providerSecrets,
    keys: rows.keys,
    get pepper() {
      return sealed.pepper?.opened()
    },
    get signer() {
      return sealed.signer?.opened()
    },
    sealed,
    logKeys: rows.logKeys,
  }
}

function policiesOf(snapshot: ZoneSnapshot, previous: ZoneState | undefined): ZonePolicies {
  const active = snapshot.policy
  if (active === null) return { ok: true, value: null }
  const before = previous?.snapshot.policy
  if (previous?.policies.ok && before?.setVersion === active.setVersion && before.sha256 === active.sha256) return previous.policies
  const compiled = compilePolicies(active.documents)
  return compiled.ok ? { ok: true, value: compiled.value } : { ok: false, error: compiled.detail }
}

function clientsOf(applications: readonly Application[], credentials: readonly ApplicationCredential[]): Map<ApplicationId, Client> {
  const byApplication = Map.groupBy(credentials, ({ application }) => application)
  const clients = new Map<ApplicationId, Client>()
  for (const application of applications) {
    const own = byApplication.get(application.id) ?? []
    clients.set(application.id, {
      application,
      secrets: own.flatMap((one) => (one.kind === 'secret' ? [{ digest: one.digest, expiresAt: one.expiresAt }] : [])),
      keys: own.flatMap((one) => {
        const key = one.kind === 'jwk' ? importPublic(one.jwk) : undefined
        return one.kind === 'jwk' && key !== undefined ? [{ kid: one.jwk.kid, alg: one.jwk.alg, key, expiresAt: one.expiresAt }] : []
      }),
    })
  }
  return clients
}

/** A key that cannot be imported authenticates nobody; it must not take the zone's other Applications with it. */
function importPublic(jwk: PublicJwk): KeyObject | undefined {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' })
  } catch {
    return undefined
  }
}
