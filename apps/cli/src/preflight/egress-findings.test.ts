import { createServer } from 'node:net'
import { freePort } from '@caracal/harness'
import { expect, test } from 'vitest'
import { egressEndpoints, egressFindings, endpointOf } from './egress-findings.ts'

test('[1-16] what is dialled: every host that the environment names, and those given, each once', () => {
  const env = {
    STS_URL: 'http://caracal-sts:8080',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector.monitoring:4317',
    UPSTREAM_HOST_ALLOWLIST: 'api.example.net, .wildcard.example, idp.example.net',
    MCP_SERVERS: 'tools=http://tools.agents:8000/mcp, files=https://files.example.net/mcp, local=stdio:node server.js',
    DATABASE_URL: 'postgres://elsewhere',
  }
  expect(egressEndpoints(env, ['s3.example.net', 'idp.example.net:443', 'kafka.example.net:9093'])).toEqual([
    { host: 'caracal-sts', port: 8080 },
    { host: 'collector.monitoring', port: 4317 },
    { host: 'api.example.net', port: 443 },
    { host: 'idp.example.net', port: 443 },
    { host: 'tools.agents', port: 8000 },
    { host: 'files.example.net', port: 443 },
    { host: 's3.example.net', port: 443 },
    { host: 'kafka.example.net', port: 9093 },
  ])
})

test.each([
  ['https://a.example/path', { host: 'a.example', port: 443 }],
  ['http://a.example', { host: 'a.example', port: 80 }],
  ['[2001:db8::1]:8443', { host: '2001:db8::1', port: 8443 }],
  ['', undefined],
])('%s names %j', (text, expected) => {
  expect(endpointOf(text)).toEqual(expected)
})

test('[1-16] an endpoint that can be reached, one that nobody listens at, and a name that is not known', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const found = await egressFindings([
    { host: '127.0.0.1', port },
    { host: '127.0.0.1', port: await freePort() },
    { host: 'no-such-host.invalid', port: 443 },
  ])
  server.close()
  expect(found.map(({ ok, class: fault }) => (ok ? 'ok' : fault))).toEqual(['ok', 'refused', 'dns'])
  for (const { ok, fix } of found) if (!ok) expect(fix).toContain('networkPolicy.extraEgress')
})
