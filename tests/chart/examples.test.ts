import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { CHART, type KubeObject, ROOT, render, run } from './helm.ts'
import { CLOUD, CLOUDS, COMPONENTS, EVALUATION, PRIVATE, PRODUCTION, PROFILES, RC, REGULATED } from './profiles.ts'
import { at, isMap, listAt, mapAt, textAt } from './tree.ts'

const valuesOf = (path: string): unknown => parse(readFileSync(join(CHART, path), 'utf8'))

/** Dotted paths of everything a values file sets. */
function keysOf(value: unknown, path = ''): readonly string[] {
  if (!isMap(value) || Object.keys(value).length === 0) return [path]
  return Object.entries(value).flatMap(([key, inner]) => keysOf(inner, path === '' ? key : `${path}.${key}`))
}

describe('profiles', () => {
  test('[1-01] production and the managed example bring no database, no cache and no Secret', async () => {
    for (const asked of [PRODUCTION, CLOUD]) {
      const objects = await render(asked)
      expect(objects.list().filter((name) => /postgres|redis|valkey|Secret\//i.test(name))).toEqual([])
      expect(objects.names('NetworkPolicy')).toContain('caracal-default-deny')
      expect(objects.names('ServiceMonitor')).toHaveLength(COMPONENTS.length)
    }
  })

  test('[1-02] an evaluation is rc with one replica of everything, a Secret of its own and nothing exposed', async () => {
    const objects = await render(EVALUATION)
    for (const component of COMPONENTS) expect(at(objects.workload(component), 'spec.replicas')).toBe(1)
    for (const kind of ['Ingress', 'HTTPRoute', 'HorizontalPodAutoscaler', 'PodDisruptionBudget']) expect(objects.names(kind)).toEqual([])
    expect(objects.ofKind('Service').map((service) => textAt(service, 'spec.type'))).not.toContain('LoadBalancer')
    expect(objects.names('Secret')).toContain('caracal-runtime')
  })

  test('[1-03] [1-14] production is stable with policies, budgets, scalers, monitors and rules for all five', async () => {
    const objects = await render(PRODUCTION)
    for (const kind of ['PodDisruptionBudget', 'HorizontalPodAutoscaler', 'ServiceMonitor'])
      expect(objects.names(kind)).toEqual(COMPONENTS.map((component) => `caracal-${component}`).toSorted())
    for (const component of COMPONENTS) expect(objects.has('NetworkPolicy', `caracal-${component}`)).toBe(true)
    expect(objects.names('PrometheusRule')).toEqual(['caracal'])
  })

  test('[1-04] a private cluster has internal load balancers for API and Gateway only, and no Ingress', async () => {
    const objects = await render(PRIVATE)
    expect([...objects.names('Ingress'), ...objects.names('HTTPRoute')]).toEqual([])
    const balancers = objects.ofKind('Service').filter((service) => textAt(service, 'spec.type') === 'LoadBalancer')
    expect(balancers.map((service) => textAt(service, 'metadata.name')).toSorted()).toEqual(['caracal-api-lb', 'caracal-gateway-lb'])
    for (const balancer of balancers) {
      expect(mapAt(balancer, 'metadata.annotations')).toMatchObject({
        'service.beta.kubernetes.io/aws-load-balancer-scheme': 'internal',
        'networking.gke.io/load-balancer-type': 'Internal',
        'service.beta.kubernetes.io/azure-load-balancer-internal': 'true',
      })
      expect(listAt(balancer, 'spec.ports').map((port) => textAt(port, 'name'))).toEqual(['http'])
      expect(listAt(balancer, 'spec.loadBalancerSourceRanges')).not.toEqual([])
    }
  })

  test('[1-12] only Gateway, API and STS can be exposed', () => {
    const values = valuesOf('values.yaml')
    for (const kind of ['ingress', 'httpRoute']) expect(Object.keys(mapAt(values, kind)).toSorted()).toEqual(['api', 'gateway', 'sts'])
    expect(COMPONENTS.filter((component) => at(values, `services.${component}.loadBalancer`) !== undefined)).toEqual([
      'api',
      'sts',
      'gateway',
    ])
  })

  test('[2-02] the managed example renders with the two hosts: external state, TLS, monitors, named egress', async () => {
    const objects = await render(CLOUD)
    expect(objects.names('Ingress')).toEqual(['caracal-api', 'caracal-gateway'])
    const migration = at(objects.one('Job', 'caracal-migrate'), 'spec.template.spec.containers.0.env')
    expect(migration).toContainEqual({ name: 'DB_HOST', value: 'pg.internal.acme.io' })
    expect(objects.names('ServiceMonitor')).toHaveLength(COMPONENTS.length)
    for (const policy of objects.ofKind('NetworkPolicy')) expect(JSON.stringify(policy)).not.toContain('0.0.0.0/0')
  })

  test('[2-06] cert-manager issues the certificates of both', async () => {
    const objects = await render(CLOUD)
    for (const component of ['api', 'gateway']) {
      const ingress = objects.one('Ingress', `caracal-${component}`)
      expect(annotation(ingress)).not.toBe('')
      expect(textAt(ingress, 'spec.tls.0.secretName')).toBe(`caracal-${component}-tls`)
    }
  })

  test('[2-01] per cloud only storage class, ingress and the port of Redis differ', () => {
    const allowed =
      /^(replayPersistence\.storageClassName|secrets\.redis\.port|networkPolicy\.ingressController|ingress\.(api|gateway|sts)\.(className|annotations|tlsSecretName|tlsAtController)(\..*)?)$/
    for (const cloud of CLOUDS) expect(keysOf(valuesOf(`examples/values.${cloud}.yaml`)).filter((key) => !allowed.test(key))).toEqual([])
  })

  test.each([
    ['eks', 'gp3', 'alb', 'eks.amazonaws.com/role-arn', 'aws'],
    ['gke', 'premium-rwo', 'gce', 'iam.gke.io/gcp-service-account', 'gcp'],
    ['aks', 'managed-csi', 'azure-application-gateway', 'azure.workload.identity/client-id', 'azure'],
  ])('[2-15] %s: storage class %s, ingress class %s, store by %s', async (cloud, storage, ingress, identity, store) => {
    const objects = await render(PROFILES[`cloud-managed-${cloud}`] ?? PRODUCTION)
    for (const component of ['sts', 'gateway'])
      expect(textAt(objects.workload(component), 'spec.volumeClaimTemplates.0.spec.storageClassName')).toBe(storage)
    for (const name of ['caracal-api', 'caracal-gateway']) {
      // Google's controller reads its class from the annotation only.
      const { metadata, spec } = objects.one('Ingress', name)
      expect(textAt(spec, 'ingressClassName') || mapAt({ metadata }, 'metadata.annotations')['kubernetes.io/ingress.class']).toBe(ingress)
    }
    expect(readFileSync(join(CHART, `examples/external-secrets/secretstore-${store}.yaml`), 'utf8')).toContain(identity)
  })

  test('[2-16] DNS and HTTPS stay closed in every profile that is not for development', async () => {
    for (const asked of [PRODUCTION, RC, CLOUD, EVALUATION, PRIVATE, REGULATED])
      for (const file of asked.files ?? []) {
        const policy = mapAt(valuesOf(file), 'networkPolicy')
        expect([policy.allowOpenDns ?? false, policy.allowOpenHttps ?? false, policy.enabled ?? true]).toEqual([false, false, true])
      }
    const objects = await render({
      ...PRODUCTION,
      values: {
        networkPolicy: { dnsEgress: ['10.0.0.10/32'], extraEgress: [{ cidrs: ['203.0.113.0/24'], ports: [443], components: ['gateway'] }] },
      },
    })
    const egress = listAt(objects.one('NetworkPolicy', 'caracal-gateway'), 'spec.egress')
    expect(egress).toContainEqual({
      to: [{ ipBlock: { cidr: '10.0.0.10/32' } }],
      ports: [
        { protocol: 'UDP', port: 53 },
        { protocol: 'TCP', port: 53 },
      ],
    })
    expect(egress).toContainEqual({ to: [{ ipBlock: { cidr: '203.0.113.0/24' } }], ports: [{ protocol: 'TCP', port: 443 }] })
  })

  test('[2-18] the repository holds no infrastructure module of a cloud', async () => {
    const { stdout } = await run('git', ['-C', ROOT, 'ls-files'])
    expect(stdout.split('\n').filter((path) => /\.(tf|tfvars|bicep)$|cloudformation|Pulumi\.ya?ml$/i.test(path))).toEqual([])
  })
})

function annotation(ingress: KubeObject): string {
  return String(mapAt(ingress, 'metadata.annotations')['cert-manager.io/cluster-issuer'] ?? '')
}
