import { canonicalJson, type PolicySetVersionId, type PolicyVersionId, type ZoneId } from '@caracal/core'
import { findPolicySetVersion, findPolicyVersions, listActivations, type Queryable } from '@caracal/postgres'

/** Most activations that are looked back to. */
const MOST = 200

export type Attachment = { readonly name: string; readonly text: string }

/**
 * The policy set versions that were in force (the latest 200 activations) and the texts of the policies they pin, as attachments of
 * a bundle. Events name the set version that decided; its members name the policy versions by SHA-256.
 */
export async function policiesInForce(db: Queryable, zone: ZoneId): Promise<readonly Attachment[]> {
  const activations = await listActivations(db, zone, { limit: MOST })
  const sets: Attachment[] = []
  const versions = new Set<PolicyVersionId>()
  for (const id of new Set<PolicySetVersionId>(activations.items.map(({ setVersion }) => setVersion))) {
    const version = await findPolicySetVersion(db, zone, id)
    if (version === undefined) continue
    const { number, members, sha256 } = version
    sets.push({ name: `policy-sets/${id}.json`, text: canonicalJson({ id, number, members, sha256 }) })
    for (const member of members) versions.add(member.version)
  }
  const policies = await findPolicyVersions(db, zone, [...versions].sort())
  return [...sets, ...policies.map(({ id, source }) => ({ name: `policies/${id}.yaml`, text: source }))]
}
