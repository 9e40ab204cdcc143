import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Installation, startInstallation } from '../../../apps/cli/src/installation.ts'
import { code, generatedFrom, page, table } from './markdown.ts'

type Operation = {
  readonly summary: string
  readonly 'x-caracal-who': readonly string[]
  readonly 'x-caracal-exposure': string
  readonly 'x-caracal-audit'?: string
}

type OpenApi = { readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>> }

const SERVICES = ['api', 'sts', 'coordinator', 'audit'] as const

/** Every route of every service, as its own `/openapi.json` lists them: the services are started for it, in a folder that goes away. */
export async function routesPage(): Promise<string> {
  const state = mkdtempSync(join(tmpdir(), 'caracal-routes-'))
  let installation: Installation | undefined
  try {
    const running = await startInstallation({ state, portOffset: await freeOffset() })
    installation = running
    const tables = await Promise.all(
      SERVICES.map(async (service) => {
        const answer = await fetch(`${running.endpoints[service]}/openapi.json`)
        return `## ${service}\n\n${routes((await answer.json()) as OpenApi)}`
      }),
    )
    return page(
      '# Routes',
      generatedFrom('`/openapi.json` of the running services'),
      `Each of these services says the whole of it, with schemas, at \`/openapi.json\`. *Cluster* routes are not for the outside. Every service,
the Gateway too, has \`/livez\`, \`/health\`, \`/ready\` and \`/version\`; metrics stand on a port of their own, at \`/metrics\`.`,
      ...tables,
      '## gateway',
      `The Gateway has no routes of its own beside the probes: a request names the resource it is for, and everything else is the upstream's. First
match of: the header \`X-Caracal-Resource: <identifier>\`; the path \`/r/<resource name>/…\`; the host \`<resource name>.<GATEWAY_BASE_DOMAIN>\`.`,
    )
  } finally {
    await installation?.stop()
    rmSync(state, { recursive: true, force: true })
  }
}

function routes({ paths }: OpenApi): string {
  const rows = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [
      code(`${method.toUpperCase()} ${path}`),
      operation.summary,
      `${operation['x-caracal-who'].join(', ')}${operation['x-caracal-exposure'] === 'cluster' ? ' *(cluster)*' : ''}`,
      code(operation['x-caracal-audit'] ?? ''),
    ]),
  )
  return table(['Route', 'Does', 'Who', 'Event'], rows)
}

/** An offset at which the first port is free; all are below those that the system hands out for outgoing connections. */
function freeOffset(): Promise<number> {
  return new Promise((resolve, reject) => {
    const offset = 10_000 + Math.floor(Math.random() * 1_300) * 10 + 5
    const probe = createServer()
    probe.once('error', () => freeOffset().then(resolve, reject))
    probe.listen(3000 + offset, '127.0.0.1', () => probe.close(() => resolve(offset)))
  })
}
