import { createHash } from 'node:crypto'
import { canonicalJson, newId, parsePolicy, type Result, type ZoneId } from '@caracal/core'
import {
  activatePolicySetVersion,
  activePolicy,
  addPolicySetVersion,
  addPolicyVersion,
  bumpConfigVersion,
  createPolicy,
  createPolicySet,
  type Database,
  enqueue,
  findPolicySetByName,
} from '@caracal/postgres'

function established<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`refused: ${result.reason} ${result.detail ?? ''}`)
  return result.value
}

/** Makes the document the only one of the zone's active set, as the API does. */
export async function activatePolicy(database: Database, zone: ZoneId, yaml: string): Promise<void> {
  const parsed = parsePolicy(yaml)
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems))
  const canonical = canonicalJson(parsed.value)
  const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
  await database.transaction(async (tx) => {
    const now = Date.now()
    const policy = established(await createPolicy(tx, { id: newId('policy'), zone, name: `policy-${newId('policy').slice(-8)}` }, now))
    const document = { id: newId('policyVersion'), zone, policy: policy.id, source: yaml, canonical, sha256: sha256(canonical) }
    const { version } = established(await addPolicyVersion(tx, { ...document, createdBy: 'test' }, now))
    const set =
      (await findPolicySetByName(tx, zone, 'default')) ??
      established(await createPolicySet(tx, { id: newId('policySet'), zone, name: 'default' }, now))
    const members = [{ policy: policy.id, version: version.id, sha256: version.sha256 }]
    const next = { id: newId('policySetVersion'), zone, policySet: set.id, members, sha256: sha256(canonicalJson(members)) }
    const { version: setVersion } = established(await addPolicySetVersion(tx, { ...next, createdBy: 'test' }, now))
    const expected = (await activePolicy(tx, zone))?.generation ?? 0
    established(await activatePolicySetVersion(tx, { zone, setVersion: setVersion.id, expected, by: 'test' }, now))
    const message = { v: 1, zone, setVersion: setVersion.id, sha256: setVersion.sha256, version: await bumpConfigVersion(tx, zone) }
    await enqueue(tx, { stream: 'caracal.policy', aggregate: zone, payload: JSON.stringify(message) })
  })
}
