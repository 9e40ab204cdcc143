import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '@caracal/harness'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { prometheusGate } from '../../apps/cli/src/rollout/prometheus-gate.ts'

const folder = mkdtempSync(join(tmpdir(), 'caracal-prometheus-'))
const stops: (() => unknown)[] = []
let prometheus: string
let scraped = 'caracal_ready 1\n'

/** A real Prometheus that scrapes one target in the namespace `caracal`, and one that nobody answers for in `broken`. */
beforeAll(async () => {
  const target = createServer((_request, response) => response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(scraped))
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve))
  stops.push(() => target.close())
  const rules = {
    groups: [
      {
        name: 'caracal',
        interval: '1s',
        rules: [{ alert: 'CaracalNotReady', expr: 'caracal_ready == 0', labels: { severity: 'critical' } }],
      },
    ],
  }
  writeFileSync(join(folder, 'rules.yaml'), JSON.stringify(rules))
  const at = (namespace: string, port: number) => ({ targets: [`127.0.0.1:${port}`], labels: { namespace, pod: `${namespace}-0` } })
  const config = {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: [join(folder, 'rules.yaml')],
    scrape_configs: [
      {
        job_name: 'pods',
        static_configs: [at('caracal', (target.address() as AddressInfo).port), at('broken', await freePort())],
      },
    ],
  }
  writeFileSync(join(folder, 'prometheus.yaml'), JSON.stringify(config))
  const port = await freePort()
  prometheus = `http://127.0.0.1:${port}`
  const server = spawn(
    'prometheus',
    [
      `--config.file=${join(folder, 'prometheus.yaml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: 'ignore' },
  )
  stops.push(async () => {
    server.kill('SIGKILL')
    await once(server, 'exit')
  })
})
afterAll(async () => {
  for (const stop of stops.reverse()) await stop()
  rmSync(folder, { recursive: true, force: true })
})

const gate = (namespace: string) => prometheusGate(prometheus, namespace, true)

test('[1-17] [2-22] the gate goes when every target is up and our rules are loaded', async () => {
  await expect
    .poll(() => gate('caracal'), { timeout: 60_000 })
    .toMatchObject({ id: 'G12', state: 'go', evidence: '1 targets up, 1 rules loaded' })
})

test('[1-17] [2-22] it stops for a target that is down, for a namespace that nobody scrapes, and while a critical alert fires', async () => {
  await expect
    .poll(() => gate('broken'), { timeout: 60_000 })
    .toMatchObject({ state: 'stop', evidence: expect.stringContaining('refused') })
  expect(await gate('elsewhere')).toMatchObject({ state: 'stop', evidence: 'no target in elsewhere' })
  scraped = 'caracal_ready 0\n'
  await expect.poll(() => gate('caracal'), { timeout: 60_000 }).toMatchObject({ state: 'stop', evidence: 'CaracalNotReady fires' })
})

test('[1-17] a target of a pod that ends is none that is down', async () => {
  const told = async (gone: (pod: string) => boolean) => (await prometheusGate(prometheus, 'broken', true, gone)).evidence
  await expect.poll(() => told(() => false), { timeout: 60_000 }).toContain('connection refused')
  const without = await told((pod) => pod === 'broken-0')
  expect(without).toContain('no target in broken')
  expect(without).not.toContain('connection refused')
})

test('[1-17] without a Prometheus that answers it cannot be told; a release without monitors has no such gate', async () => {
  expect(await prometheusGate('http://127.0.0.1:9', 'caracal', true)).toMatchObject({ state: 'unknown' })
  expect(await prometheusGate(undefined, 'caracal', true)).toMatchObject({ state: 'unknown' })
  expect(await prometheusGate(undefined, 'caracal', false)).toMatchObject({ state: 'none' })
})
