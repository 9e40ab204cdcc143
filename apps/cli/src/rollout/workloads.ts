import { type Kubectl, type KubeObject, listAt, nameOf, numberAt, textAt } from './kubectl.ts'

export type Workload = {
  readonly name: string
  readonly role: string
  readonly desired: number
  readonly updated: number
  readonly ready: number
  readonly images: readonly string[]
  /** The controller has seen the last change. */
  readonly observed: boolean
}

export type Pod = {
  readonly name: string
  readonly role: string
  readonly ready: boolean
  readonly ageSeconds: number
  readonly deleted: boolean
}

export const ofRelease = (release: string) => `app.kubernetes.io/instance=${release},app.kubernetes.io/part-of=caracal`

/** Deployments and StatefulSets of a release. */
export async function workloadsOf(cluster: Kubectl, release: string): Promise<readonly Workload[]> {
  const found = await Promise.all(['deployments', 'statefulsets'].map((kind) => cluster.list(kind, ofRelease(release))))
  return found.flat().map(workload)
}

function workload(object: KubeObject): Workload {
  const spec = numberAt(object, 'spec', 'replicas')
  return {
    name: nameOf(object),
    role: roleOf(object),
    desired: spec,
    updated: numberAt(object, 'status', 'updatedReplicas'),
    ready: numberAt(object, 'status', 'readyReplicas'),
    images: listAt(object, 'spec', 'template', 'spec', 'containers').map((one) => textAt(one, 'image')),
    observed: numberAt(object, 'status', 'observedGeneration') >= numberAt(object, 'metadata', 'generation'),
  }
}

export const roleOf = (object: KubeObject): string => textAt(object, 'metadata', 'labels', 'app.kubernetes.io/component')

/** Pods of a release that run one of these roles. */
export async function podsOf(cluster: Kubectl, release: string, roles: readonly string[], now = Date.now()): Promise<readonly Pod[]> {
  const found = await cluster.list('pods', ofRelease(release))
  return found
    .filter((pod) => roles.includes(roleOf(pod)) && !['Succeeded', 'Failed'].includes(textAt(pod, 'status', 'phase')))
    .map((pod) => ({
      name: nameOf(pod),
      role: roleOf(pod),
      ready: listAt(pod, 'status', 'conditions').some((one) => textAt(one, 'type') === 'Ready' && textAt(one, 'status') === 'True'),
      ageSeconds: Math.max(
        0,
        (now - Date.parse(textAt(pod, 'status', 'startTime') || textAt(pod, 'metadata', 'creationTimestamp'))) / 1000,
      ),
      deleted: textAt(pod, 'metadata', 'deletionTimestamp') !== '',
    }))
}
