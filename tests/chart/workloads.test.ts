import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { CHART, render } from './helm.ts'
import { COMPONENTS, DEV, PORTS, PRODUCTION, RC } from './profiles.ts'
import { at, isMap, listAt, mapAt, merged, textAt } from './tree.ts'

const STATEFUL = ['sts', 'gateway'] as const
const STATELESS = ['api', 'audit', 'coordinator'] as const

describe('workloads', () => {
  test('[0-01] production installs exactly the five services', async () => {
    const objects = await render(PRODUCTION)
    expect([...objects.names('Deployment'), ...objects.names('StatefulSet')].toSorted()).toEqual(
      COMPONENTS.map((component) => `caracal-${component}`).toSorted(),
    )
    expect([...objects.names('DaemonSet'), ...objects.names('CronJob'), ...objects.names('ReplicaSet')]).toEqual([])
  })

  test('[0-02] API, Audit and Coordinator are Deployments that roll without losing a replica', async () => {
    const objects = await render(PRODUCTION)
    expect(objects.names('Deployment')).toEqual(STATELESS.map((component) => `caracal-${component}`))
    for (const component of STATELESS)
      expect(at(objects.workload(component), 'spec.strategy')).toEqual({
        type: 'RollingUpdate',
        rollingUpdate: { maxSurge: 1, maxUnavailable: 0 },
      })
  })

  test('[0-03] [0-28] STS and Gateway keep evidence on a claim of their own, which outlives pod and release', async () => {
    const objects = await render(PRODUCTION)
    expect(objects.names('StatefulSet')).toEqual(['caracal-gateway', 'caracal-sts'])
    for (const component of STATEFUL) {
      const { spec } = objects.workload(component)
      expect(textAt(spec, 'serviceName')).toBe(`caracal-${component}-headless`)
      expect(objects.has('Service', `caracal-${component}-headless`)).toBe(true)
      expect(at(spec, 'persistentVolumeClaimRetentionPolicy')).toEqual({ whenDeleted: 'Retain', whenScaled: 'Retain' })
      const [claim] = listAt(spec, 'volumeClaimTemplates')
      expect(textAt(claim, 'metadata.name')).toBe('replay')
      expect(textAt(claim, 'spec.resources.requests.storage')).toBe('2Gi')
      // The template cannot change any more: only labels that never do.
      expect(Object.keys(mapAt(claim, 'metadata.labels'))).toEqual(Object.keys(mapAt(spec, 'selector.matchLabels')))
      expect(listAt(spec, 'template.spec.containers.0.volumeMounts')).toContainEqual({ name: 'replay', mountPath: '/var/lib/caracal' })
    }
  })

  test('[0-03] without replay persistence they are Deployments whose evidence dies with the pod', async () => {
    const objects = await render({ ...RC, set: { 'replayPersistence.enabled': 'false' } })
    expect(objects.names('StatefulSet')).toEqual([])
    expect(objects.names('Service').filter((name) => name.endsWith('-headless'))).toEqual([])
    for (const component of STATEFUL)
      expect(listAt(objects.one('Deployment', `caracal-${component}`), 'spec.template.spec.volumes')).toContainEqual({
        name: 'replay',
        emptyDir: {},
      })
  })

  test('[0-04] migrations are a Job before install and upgrade, made anew each time', async () => {
    const job = (await render(PRODUCTION)).one('Job', 'caracal-migrate')
    expect(mapAt(job, 'metadata.annotations')).toEqual({
      'helm.sh/hook': 'pre-install,pre-upgrade',
      'helm.sh/hook-weight': '0',
      'helm.sh/hook-delete-policy': 'before-hook-creation',
    })
    expect(listAt(job, 'spec.template.spec.containers.0.args').slice(0, 4)).toEqual(['db', 'migrate', 'up', '--preflight'])
    expect(textAt(job, 'spec.template.spec.restartPolicy')).toBe('Never')
  })

  test.each(COMPONENTS)(
    '[0-05] [0-17] %s has one ClusterIP Service on its port, and goes with it when it is switched off',
    async (component) => {
      const whole = await render(PRODUCTION)
      const service = whole.one('Service', `caracal-${component}`)
      expect(textAt(service, 'spec.type')).toBe('ClusterIP')
      expect(listAt(service, 'spec.ports').map((port) => [textAt(port, 'name'), at(port, 'port')])).toEqual([
        ['http', PORTS[component]],
        ['metrics', 9464],
      ])
      const without = await render({ ...PRODUCTION, values: { services: { [component]: { enabled: false } } } })
      const gone = whole.list().filter((name) => !without.list().includes(name))
      expect(gone).toEqual(whole.list().filter((name) => new RegExp(`/caracal-${component}(-headless)?$`).test(name)))
      expect(without.list().filter((name) => !whole.list().includes(name))).toEqual([])
    },
  )

  test('[0-06] [1-13] [0-22] no Ingress by default; API and Gateway may have one with TLS and only public paths', async () => {
    expect((await render(PRODUCTION)).names('Ingress')).toEqual([])
    const values = {
      networkPolicy: { ingressController: [{ podSelector: {} }] },
      ingress: {
        api: { enabled: true, host: 'api.acme.io', tlsSecretName: 'api-tls', className: 'nginx', annotations: { team: 'a' } },
        gateway: { enabled: true, host: 'gateway.acme.io', tlsSecretName: 'gateway-tls' },
      },
      services: { gateway: { baseDomain: 'agents.acme.io' } },
    }
    const objects = await render({ ...PRODUCTION, values })
    expect(objects.names('Ingress')).toEqual(['caracal-api', 'caracal-gateway'])
    const paths = (component: string, rule: number) =>
      listAt(objects.one('Ingress', `caracal-${component}`), `spec.rules.${rule}.http.paths`).map((path) => textAt(path, 'path'))
    const api = objects.one('Ingress', 'caracal-api')
    expect(at(api, 'spec.tls')).toEqual([{ hosts: ['api.acme.io'], secretName: 'api-tls' }])
    expect(textAt(api, 'spec.ingressClassName')).toBe('nginx')
    expect(textAt(api, 'metadata.annotations.team')).toBe('a')
    expect(paths('api', 0)).toEqual(['/v1', '/health', '/ready'])
    const gateway = objects.one('Ingress', 'caracal-gateway')
    expect(listAt(gateway, 'spec.rules').map((rule) => textAt(rule, 'host'))).toEqual(['gateway.acme.io', '*.agents.acme.io'])
    expect(paths('gateway', 0)).toEqual(['/'])
    for (const ingress of [api, gateway]) expect(JSON.stringify(ingress)).not.toContain('9464')
  })

  test.each(COMPONENTS)('[0-08] %s has a budget and a scaler, each by itself, with the numbers that are set', async (component) => {
    const plain = await render({ ...RC, values: { services: { [component]: { pdb: { enabled: false } } } } })
    expect(plain.has('PodDisruptionBudget', `caracal-${component}`)).toBe(false)
    expect(plain.has('HorizontalPodAutoscaler', `caracal-${component}`)).toBe(false)
    expect(at(plain.workload(component), 'spec.replicas')).toBe(2)

    const own = {
      pdb: { enabled: true, minAvailable: 3 },
      hpa: { enabled: true, minReplicas: 4, maxReplicas: 9, targetCPUUtilizationPercentage: 55, targetMemoryUtilizationPercentage: 80 },
    }
    const scaled = await render({ ...RC, values: { services: { [component]: own } } })
    const workload = scaled.workload(component)
    expect(at(workload, 'spec.replicas')).toBeUndefined()
    expect(mapAt(scaled.one('PodDisruptionBudget', `caracal-${component}`), 'spec')).toEqual({
      minAvailable: 3,
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
      selector: at(workload, 'spec.selector'),
    })
    const scaler = scaled.one('HorizontalPodAutoscaler', `caracal-${component}`)
    expect(at(scaler, 'spec.scaleTargetRef')).toEqual({ apiVersion: 'apps/v1', kind: workload.kind, name: `caracal-${component}` })
    expect([at(scaler, 'spec.minReplicas'), at(scaler, 'spec.maxReplicas')]).toEqual([4, 9])
    expect(listAt(scaler, 'spec.metrics').map((metric) => at(metric, 'resource.target.averageUtilization'))).toEqual([55, 80])
  })

  test('[P-147] what can never change says nothing of a version, and each component has a policy of its own', async () => {
    const [now, next] = await Promise.all([render(PRODUCTION), render({ ...PRODUCTION, set: { 'global.tag': '9.9.9' } })])
    const fixed = (objects: typeof now, component: string) => {
      const { spec } = objects.workload(component)
      const claims = listAt(spec, 'volumeClaimTemplates')
      return { selector: at(spec, 'selector'), service: at(spec, 'serviceName'), claims, management: at(spec, 'podManagementPolicy') }
    }
    for (const component of COMPONENTS) {
      expect(textAt(now.workload(component), 'metadata.name')).toBe(`caracal-${component}`)
      expect(fixed(next, component)).toEqual(fixed(now, component))
      expect(JSON.stringify(fixed(now, component))).not.toMatch(/version|chart/)
      const policy = now.one('NetworkPolicy', `caracal-${component}`)
      expect(at(policy, 'spec.podSelector')).toEqual(at(now.workload(component).spec, 'selector'))
    }
    expect(now.names('Secret')).toEqual([])
  })

  test('[0-10] each overlay sets its mode, and every pod of ours is told so', async () => {
    for (const [mode, overlay] of Object.entries({ stable: PRODUCTION, rc: RC, dev: DEV })) {
      const modes = (await render(overlay)).pods().flatMap(({ spec }) => envOf(spec, 'CARACAL_MODE'))
      expect([...new Set(modes)]).toEqual([mode])
    }
  })

  test('[0-11] the production overlay itself carries replicas, budgets and spread; all five have two replicas or more', async () => {
    const overlay: unknown = parse(readFileSync(join(CHART, 'values.production.yaml'), 'utf8'))
    expect(textAt(overlay, 'global.mode')).toBe('stable')
    expect(textAt(overlay, 'scheduling.antiAffinity')).not.toBe('none')
    const objects = await render(PRODUCTION)
    for (const component of COMPONENTS) {
      expect(Number(at(overlay, `services.${component}.replicas`))).toBeGreaterThanOrEqual(2)
      expect(at(overlay, `services.${component}.pdb.enabled`)).toBe(true)
      expect(objects.has('PodDisruptionBudget', `caracal-${component}`)).toBe(true)
      expect(Number(at(objects.one('HorizontalPodAutoscaler', `caracal-${component}`), 'spec.minReplicas'))).toBeGreaterThanOrEqual(2)
      const pod = at(objects.workload(component), 'spec.template.spec')
      expect(at(pod, 'affinity.podAntiAffinity')).toBeDefined()
      expect(textAt(pod, 'topologySpreadConstraints.0.topologyKey')).toBe('topology.kubernetes.io/zone')
    }
  })

  test('[0-13] dev is one replica of each beside a Postgres of the chart’s own, and migrates by itself', async () => {
    const objects = await render(DEV)
    for (const component of COMPONENTS) expect(at(objects.workload(component), 'spec.replicas')).toBe(1)
    expect(at(objects.one('StatefulSet', 'caracal-postgres'), 'spec.replicas')).toBe(1)
    expect(objects.names('Job')).toEqual([])
    expect(textAt(objects.workload('api'), 'spec.template.spec.initContainers.0.name')).toBe('migrate')
    expect(objects.names('NetworkPolicy')).toEqual([])
    const settings = listAt(objects.workload('sts'), 'spec.template.spec.containers.0.env').map((entry) => textAt(entry, 'name'))
    expect(settings).not.toContain('REDIS_URL_FILE')
  })

  test('[0-09] [1-09] production has one ServiceMonitor per component and the rules', async () => {
    const objects = await render(PRODUCTION)
    expect(objects.names('ServiceMonitor')).toEqual(COMPONENTS.map((component) => `caracal-${component}`).toSorted())
    expect(objects.names('PrometheusRule')).toEqual(['caracal'])
    for (const component of COMPONENTS) {
      const monitor = objects.one('ServiceMonitor', `caracal-${component}`)
      const labels = mapAt(objects.one('Service', `caracal-${component}`), 'metadata.labels')
      for (const [key, value] of Object.entries(mapAt(monitor, 'spec.selector.matchLabels'))) expect(labels[key]).toBe(value)
      expect(textAt(monitor, 'spec.endpoints.0.port')).toBe('metrics')
    }
    expect(
      (await render(PRODUCTION)).ofKind('ServiceMonitor').every((one) => at(one, 'spec.endpoints.0.authorization') === undefined),
    ).toBe(true)
  })

  test('[0-27] the list of upstreams reaches the Gateway, and the canary’s own stays callable', async () => {
    const objects = await render({
      ...PRODUCTION,
      values: { services: { gateway: { upstreamAllowlist: ['api.acme.io', 'mcp.acme.io'] } } },
    })
    const [list] = envOf(at(objects.workload('gateway'), 'spec.template.spec'), 'UPSTREAM_HOST_ALLOWLIST')
    expect(list?.split(',')).toEqual(['api.acme.io', 'mcp.acme.io', 'caracal-canary.caracal.svc'])
    const open = await render(PRODUCTION)
    expect(envOf(at(open.workload('gateway'), 'spec.template.spec'), 'UPSTREAM_HOST_ALLOWLIST')).toEqual([])
  })

  test('[1-11] the network switches have the documented defaults, and the documented snippet changes nothing', async () => {
    const values: unknown = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8'))
    const snippet = { enabled: true, allowOpenDns: false, allowOpenHttps: false, dnsEgress: [], extraEgress: [], extraIngress: [] }
    for (const [key, value] of Object.entries(snippet)) expect(at(values, `networkPolicy.${key}`)).toEqual(value)
    const before = await render(PRODUCTION)
    const after = await render({ ...PRODUCTION, values: merged({ networkPolicy: snippet }) })
    expect(after.all).toEqual(before.all)
  })
})

/** Values of a variable in every container of a pod. */
function envOf(spec: unknown, name: string): readonly string[] {
  return [...listAt(spec, 'initContainers'), ...listAt(spec, 'containers')].flatMap((container) =>
    listAt(container, 'env').flatMap((entry) => (isMap(entry) && entry.name === name ? [textAt(entry, 'value')] : [])),
  )
}
