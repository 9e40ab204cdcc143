import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PROFILES } from '../chart/profiles.ts'
import { startOldestApi } from './control-plane.ts'
import { applyCrds } from './crds.ts'
import { run, stopProcess, tool } from './processes.ts'

const SPACE = 'profiles'

/** Renders as an operator would, for a release and namespace that nothing else here uses. */
function render(name: string): string {
  const asked = PROFILES[name]
  if (asked === undefined) throw new Error(`no profile is named ${name}`)
  const files = (asked.files ?? []).flatMap((file) => ['--values', `infra/helm/caracal/${file}`])
  const set = Object.entries(asked.set ?? {}).flatMap(([key, value]) => ['--set', `${key}=${value}`])
  const values = asked.values === undefined ? [] : ['--values', '-']
  return run([tool('helm-4'), 'template', 'caracal', 'infra/helm/caracal', '--namespace', SPACE, ...files, ...values, ...set], {
    input: JSON.stringify(asked.values ?? {}),
  })
}

/** No pod is to come of it: what is asked is whether the API server takes the objects. */
const SPACE_OBJECTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: SPACE, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } } },
  { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'nothing-runs', namespace: SPACE }, spec: { hard: { 'count/pods': '0' } } },
]

describe.each(['newest', 'oldest'] as const)('the %s Kubernetes that the chart supports', (which) => {
  let to: readonly string[] = []
  const kubectl = (input: string, ...args: readonly string[]) => run([tool('kubectl'), ...to, ...args], { input })

  beforeAll(async () => {
    if (which === 'oldest') {
      const server = await startOldestApi()
      to = ['--server', server]
      applyCrds(server)
    }
    for (const object of SPACE_OBJECTS) kubectl(JSON.stringify(object), 'apply', '-f', '-')
  })
  afterAll(async () => {
    if (which === 'oldest') for (const name of ['kube-apiserver-oldest', 'etcd-oldest']) await stopProcess(name)
    else kubectl('', 'delete', 'namespace', SPACE, '--wait', '--timeout=120s')
  })

  test.each(Object.keys(PROFILES))('takes %s by server-side apply, and a second time without a change', (name) => {
    // A pod is refused by the quota, and that of `helm test` is made by Helm itself; it stands in the install suite.
    const objects = render(name)
      .split(/^---$/m)
      .filter((text) => /^kind: /m.test(text) && !/^kind: Pod$/m.test(text))
    const manifest = objects.join('\n---\n')
    // Google's controller still reads the annotation that Kubernetes warns of.
    const strict = name === 'cloud-managed-gke' ? [] : ['--warnings-as-errors']
    const apply = () => kubectl(manifest, 'apply', '--server-side', ...strict, '-f', '-')
    try {
      apply()
      const standing = kubectl(manifest, 'get', '-f', '-', '-o', 'name').split('\n').filter(Boolean)
      expect(standing).toHaveLength(objects.length)
      apply()
      // An autoscaler changes what it scales by itself; what a further apply would change is asked of the API server.
      expect(kubectl(manifest, 'diff', '--server-side', '-f', '-')).toBe('')
    } finally {
      kubectl(manifest, 'delete', '--wait', '--ignore-not-found', '--timeout=60s', '-f', '-')
    }
  })
})
