import { createServer } from 'node:net'
import { ConfigurationError } from '@caracal/service'
import { CliError } from './cli-error.ts'
import { type DatabasePlace, databaseError } from './database-error.ts'
import { CANARY_PORT, PORTS, type Role, START_ORDER } from './roles.ts'

const OTHER_PORTS = "End what listens there, or move all ports: `caracal up --port-offset 100` (`make up ARGS='--port-offset 100'`)."

/** Every port that `caracal up` takes, with whose it is. */
function portsOf(offset: number, roles: readonly Role[]): { readonly port: number; readonly whose: string }[] {
  return [
    ...roles.flatMap((role) => [
      { port: PORTS[role].port + offset, whose: role },
      { port: PORTS[role].metrics + offset, whose: `metrics of ${role}` },
    ]),
    { port: CANARY_PORT + offset, whose: 'the notes API of the quick start' },
  ]
}

const HIGHEST = Math.max(...portsOf(0, [...START_ORDER, 'mcp-adapter']).map(({ port }) => port))

/** The offset that the person gave; with it every port is one. */
export function parsePortOffset(text: string): number {
  const offset = Number(text)
  if (!/^\d{1,5}$/.test(text) || HIGHEST + offset > 65_535)
    throw new CliError(`--port-offset is a whole number from 0 to ${65_535 - HIGHEST}, not ${text}.`, undefined, { exitCode: 2 })
  return offset
}

/** A Redis URL can be used as one; what it names is not asked yet. */
export function assertRedisUrl(url: string | undefined): void {
  if (url !== undefined && !/^rediss?:$/.test(URL.parse(url)?.protocol ?? ''))
    throw new CliError('--redis-url is not a URL that begins with redis:// or rediss://.', undefined, { exitCode: 2 })
}

/** All ports are free a moment before anything starts; else all that are not are named at once. */
export async function assertPortsFree(offset: number, roles: readonly Role[] = START_ORDER): Promise<void> {
  const found = await Promise.all(portsOf(offset, roles).map(async (one) => ({ ...one, problem: await listenProblem(one.port) })))
  const taken = found.filter(({ problem }) => problem !== undefined)
  if (taken.length > 0) {
    const lines = taken.map(({ port, whose, problem }) => `${port} (${whose}): ${problem}`)
    throw new CliError(taken.length === 1 ? 'A port cannot be listened on:' : 'Some ports cannot be listened on:', OTHER_PORTS, { lines })
  }
}

function listenProblem(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code === 'EADDRINUSE' ? 'already in use' : error.code === 'EACCES' ? 'not permitted' : error.message),
    )
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(undefined)))
  })
}

/** What went wrong with the person's machine, in words; whatever is not known here comes back as it is, because it is a bug. */
export function startupError(
  error: unknown,
  where: { readonly state: string; readonly portOffset: number; readonly database?: DatabasePlace },
): unknown {
  if (!(error instanceof Error) || error instanceof CliError) return error
  if (error instanceof ConfigurationError) {
    const lines = error.problems.map(({ name, rule }) => `${name} ${rule}`)
    return new CliError('The configuration is wrong; nothing was started.', 'docs/reference/configuration.md lists every setting.', {
      lines,
    })
  }
  const { code, path, syscall } = error as NodeJS.ErrnoException
  const { port } = error as { port?: number }
  if (code === 'EADDRINUSE' && port !== undefined) {
    const whose = portsOf(where.portOffset, [...START_ORDER, 'mcp-adapter']).find((one) => one.port === port)?.whose
    return new CliError(`Port ${port}${whose ? ` (${whose})` : ''} is already in use.`, OTHER_PORTS)
  }
  if (where.database !== undefined) {
    const told = databaseError(error, where.database)
    if (told !== undefined) return told
  }
  if (syscall !== undefined && path?.startsWith(where.state))
    return new CliError(
      `The state folder ${where.state} cannot be used: ${error.message}.`,
      'Set CARACAL_HOME to a folder that you may write to.',
    )
  return error
}
