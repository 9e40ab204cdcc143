import { describe, expect, it } from 'vitest'
import { type Check, createLogger, createMetrics, createProbes, startMetricsListener } from './index.ts'

const logger = createLogger({ name: 'sts', level: 'silent' })

function probesOf(checks: readonly Check[]) {
  const probes = createProbes({ service: 'sts', version: '1', checks, logger, intervalMs: 3_600_000 })
  probes.started()
  return probes
}

describe('[P-140] probes', () => {
  it('wait for each dependency to work once and forgive it afterwards', async () => {
    let up = false
    const probes = probesOf([
      {
        name: 'postgres',
        kind: 'dependency',
        check: async () => {
          if (!up) throw new Error('away')
        },
      },
    ])
    await probes.refresh()
    expect(probes.ready()).toEqual({ ready: false, reasons: ['starting: postgres'] })
    expect(probes.health()).toMatchObject({ status: 'degraded', checks: { postgres: 'starting' } })
    up = true
    await probes.refresh()
    expect(probes.ready()).toEqual({ ready: true, reasons: [] })
    up = false
    await probes.refresh()
    expect(probes.ready().ready).toBe(true)
    expect(probes.health()).toMatchObject({ status: 'degraded', checks: { postgres: 'failing' } })
    probes.close()
  })

  it('never forgive a missing safety property, and name it', async () => {
    let fresh = true
    const probes = probesOf([{ name: 'revocations', kind: 'safety', reason: 'revocation_view_stale', check: () => fresh }])
    await probes.refresh()
    expect(probes.ready().ready).toBe(true)
    fresh = false
    await probes.refresh()
    expect(probes.ready()).toEqual({ ready: false, reasons: ['revocation_view_stale'] })
    probes.drain()
    expect(probes.ready().reasons).toEqual(['draining', 'revocation_view_stale'])
    probes.close()
  })

  it('name the reason that the check found, and leave a warning to `/health`', async () => {
    let missing: string | undefined = 'store_full'
    const probes = probesOf([
      { name: 'streams_writes', kind: 'safety', check: () => (missing === undefined ? true : { missing }) },
      { name: 'streams_memory', kind: 'warning', check: () => false },
    ])
    await probes.refresh()
    expect(probes.ready()).toEqual({ ready: false, reasons: ['store_full'] })
    missing = undefined
    await probes.refresh()
    expect(probes.ready().ready).toBe(true)
    expect(probes.health()).toMatchObject({ status: 'degraded', checks: { streams_writes: 'ok', streams_memory: 'failing' } })
    probes.close()
  })

  it('answer from the cache while a check hangs, and count its silence as failure', async () => {
    const probes = probesOf([{ name: 'redis', kind: 'dependency', check: () => new Promise<boolean>(() => undefined) }])
    const asked = probes.refresh()
    const before = performance.now()
    expect(probes.ready().reasons).toEqual(['starting: redis'])
    expect(performance.now() - before).toBeLessThan(1_500)
    await asked
    expect(probes.health().checks).toEqual({ redis: 'starting' })
    probes.close()
  })
})

describe('the metrics listener', () => {
  it('demands the bearer for metrics exactly when one is configured, and never for probes', async () => {
    let bearers: string[] = []
    const metrics = createMetrics({ service: 'sts', version: '1', mode: 'stable' })
    const probes = createProbes({ service: 'sts', version: '1', checks: [], logger, metrics })
    const listener = await startMetricsListener({
      service: 'sts',
      host: '127.0.0.1',
      port: 0,
      bearer: () => bearers,
      metrics,
      probes,
      logger,
    })
    const status = async (path: string, bearer?: string, method = 'GET') =>
      (await fetch(listener.address.url + path, { method, headers: bearer === undefined ? {} : { authorization: `Bearer ${bearer}` } }))
        .status
    expect(await status('/metrics')).toBe(200)
    bearers = ['current-bearer', 'previous-bearer']
    expect([await status('/metrics'), await status('/metrics', 'wrong'), await status('/metrics', 'current-bearer')]).toEqual([
      401, 401, 200,
    ])
    expect(await status('/metrics', 'previous-bearer')).toBe(200)
    expect([await status('/livez'), await status('/health'), await status('/ready')]).toEqual([200, 200, 503])
    expect([await status('/'), await status('/metrics/'), await status('/metrics', 'current-bearer', 'POST')]).toEqual([404, 404, 405])
    await listener.close()
    probes.close()
    metrics.close()
  })

  it('[P-141] has only well-formed families: unit suffixes, help, `_total` for counters alone', async () => {
    const metrics = createMetrics({ service: 'sts', version: '1', mode: 'stable' })
    expect(() => metrics.counter('caracal_things', 'x')).toThrow()
    expect(() => metrics.gauge('caracal_things_total', 'x')).toThrow()
    expect(() => metrics.histogram('caracal_things', 'x')).toThrow()
    expect(() => metrics.counter('things_total', 'x')).toThrow()
    metrics.counter('caracal_things_total', 'Things.')
    metrics.insecureSetting('tls')
    const { body, contentType } = await metrics.text()
    expect(contentType).toContain('text/plain; version=0.0.4')
    expect(body).toContain('caracal_things_total 0')
    expect(body).toContain('caracal_insecure_setting{name="tls"} 1')
    for (const line of body.split('\n').filter((one) => one !== '' && !one.startsWith('#'))) {
      expect(line).toMatch(/^caracal_[a-z0-9_]+(?:\{(?:[a-z]+="[^"]*",?)*\})? (?:[0-9.e+-]+|NaN|\+Inf)$/)
    }
    metrics.close()
  })
})
