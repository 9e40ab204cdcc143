import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { inFolder, repository } from './place.ts'
import { run, startProcess, stopProcess, tool, until } from './processes.ts'

/** From here on every NetworkPolicy of the cluster holds, for the pods that are there and for those that come. */
export async function startEnforcing(): Promise<void> {
  rmSync(inFolder('enforced.json'), { force: true })
  startProcess('policy-enforcer', [process.execPath, join(repository, 'tests/cluster/policy-enforcer.ts')])
  await enforced()
}

/** Every rule is gone: all may call all, as on a cluster without a network plugin that knows of policies. */
export async function stopEnforcing(): Promise<void> {
  await stopProcess('policy-enforcer')
  const left = run(['iptables-save', '-t', 'filter']).match(/^.*CARACAL-.*$/gm)
  if (left !== null) throw new Error(`the enforcer left rules: ${left.join('; ')}`)
}

type Listed<T> = { readonly items: readonly T[] }
type Pod = {
  readonly metadata: { readonly namespace: string; readonly name: string }
  readonly status: { readonly podIP?: string; readonly phase?: string }
}
type Policy = { readonly metadata: { readonly uid: string; readonly generation: number } }

const listed = <T>(kind: string): readonly T[] =>
  (JSON.parse(run([tool('kubectl'), 'get', kind, '--all-namespaces', '-o', 'json'])) as Listed<T>).items

/** Waits until what is on the API server now is what is held: each pod under its address, each policy in its last form, and no other. */
export async function enforced(): Promise<void> {
  await until('the enforcer holds what is on the API server', 60, () => {
    if (!existsSync(inFolder('enforced.json'))) return false
    const held = JSON.parse(readFileSync(inFolder('enforced.json'), 'utf8')) as { pods: object; policies: object }
    const pods = listed<Pod>('pods').filter(
      ({ status: { podIP, phase } }) => podIP !== undefined && (phase === 'Running' || phase === 'Pending'),
    )
    const policies = listed<Policy>('networkpolicies')
    return (
      same(
        held.pods,
        pods.map(({ metadata, status }) => [`${metadata.namespace}/${metadata.name}`, status.podIP]),
      ) &&
      same(
        held.policies,
        policies.map(({ metadata }) => [metadata.uid, metadata.generation]),
      )
    )
  })
}

const same = (held: object, wanted: readonly (readonly [string, unknown])[]): boolean =>
  JSON.stringify(Object.entries(held).toSorted()) === JSON.stringify(wanted.toSorted())
