import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Listr } from 'listr2'
import { type Context, stateDirectory } from '../context.ts'
import { type Installation, startInstallation } from '../installation.ts'
import { colour, type Output } from '../output.ts'
import { urlArgument } from '../secret-file.ts'
import { assertRedisUrl, parsePortOffset } from '../startup-error.ts'
import { onStopRequest } from '../stop-request.ts'
import { apply } from './apply.ts'
import type { CommandContext } from './command.ts'
import { createCredential } from './credential.ts'
import { type ClientCredential, mintMandate } from './mandate.ts'

export type UpOptions = { readonly databaseUrl?: string; readonly redisUrl?: string; readonly mcp?: string; readonly portOffset: string }

const QUICKSTART = join(import.meta.dirname, '../../../../examples/quickstart')
const NOTES = 'https://notes.example/'
/** Ctrl-C has ended everything by then (P-145). */
const STOP_WITHIN_MS = 14_500
/** Where its documents say that the notes API is. */
const NOTES_HOST = '127.0.0.1:8090'

/** Starts everything, makes the quick start on the first start, says what to try, and stays until Ctrl-C. */
export async function up(command: CommandContext, options: UpOptions): Promise<void> {
  const began = performance.now()
  const state = stateDirectory(command.env)
  const stop = onStopRequest({ withinMs: STOP_WITHIN_MS })
  const installation = await start(command.output, state, options, stop.signal).catch((error: unknown) => {
    // A role that was just starting may hold the process: what it had open is crash-safe.
    if (stop.signal.aborted) process.exit(130)
    throw error
  })
  try {
    const context: Context = { ...installation.endpoints, token: installation.keys.adminToken }
    const mandate = await demonstrate(command, installation, context, state)
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    if (command.output.json)
      command.output.line(
        JSON.stringify({ ready: true, seconds: Number(seconds), endpoints: installation.endpoints, mcp: installation.mcp, state }),
      )
    else for (const line of greeting(installation, mandate, seconds, state)) command.output.line(line)
    await stop.requested
    command.output.note('stopping')
  } finally {
    await installation.stop()
  }
}

async function start(output: Output, state: string, options: UpOptions, signal: AbortSignal): Promise<Installation> {
  const portOffset = parsePortOffset(options.portOffset)
  const databaseUrl = urlArgument(options.databaseUrl, '--database-url')
  const redisUrl = urlArgument(options.redisUrl, '--redis-url')
  assertRedisUrl(redisUrl)
  const begin = (onStep: (step: string) => void) =>
    startInstallation({ state, databaseUrl, redisUrl, mcpServers: options.mcp, portOffset, signal, onStep })
  if (output.json || !process.stdout.isTTY) return begin((step) => output.note(step))
  const found: { installation?: Installation } = {}
  await new Listr([
    {
      title: 'Caracal',
      task: async (_, task) => {
        found.installation = await begin((step) => {
          task.output = step
        })
      },
    },
  ]).run()
  if (found.installation === undefined) throw new Error('the start ended without an installation')
  return found.installation
}

/** The quick start's documents on the first start; a mandate for its agent on every start. */
async function demonstrate(
  command: CommandContext,
  installation: Installation,
  context: Context,
  state: string,
): Promise<string | undefined> {
  const quiet: CommandContext = {
    output: { json: false, line: () => {}, note: () => {} },
    context: () => context,
    env: { ...command.env, NOTES_API_KEY: installation.keys.notesApiKey },
  }
  const file = join(state, 'credentials', 'demo-agent.json')
  if (installation.first) {
    await apply(quiet, { files: [quickstartDocuments(installation, state)], plan: false, activate: true })
    const credential = await createCredential(quiet, { application: 'demo-agent', zone: 'quickstart', quiet: true })
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(file, `${JSON.stringify(credential)}\n`, { mode: 0o600 })
  }
  if (!existsSync(file)) return undefined
  const credential = JSON.parse(readFileSync(file, 'utf8')) as ClientCredential
  try {
    const mandate = await mintMandate(context, credential, { resource: NOTES, scope: 'notes:read', ttl: '900' })
    return mandate.access_token
  } catch (error) {
    // Somebody changed the quick start's zone: everything else works, there is only nothing to show.
    command.output.note(`the quick start's agent gets no mandate: ${error instanceof Error ? error.message : error}`)
    return undefined
  }
}

/** The documents of the quick start; on other ports a copy that says where the notes API is. */
function quickstartDocuments({ upstream }: Installation, state: string): string {
  const { host } = new URL(upstream.url)
  if (host === NOTES_HOST) return QUICKSTART
  const folder = join(state, 'quickstart')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(QUICKSTART)) {
    writeFileSync(join(folder, name), readFileSync(join(QUICKSTART, name), 'utf8').replaceAll(NOTES_HOST, host))
  }
  return folder
}

function greeting(installation: Installation, mandate: string | undefined, seconds: string, state: string): string[] {
  const { endpoints } = installation
  const heading = (text: string) => colour('bold', text)
  const { mcp } = installation
  const addresses = Object.entries(mcp === undefined ? endpoints : { ...endpoints, mcp: `${mcp}/mcp/{server}` }).map(
    ([name, url]) => `  ${name.padEnd(12)} ${url}`,
  )
  const lines = [`${colour('green', 'ready')} in ${seconds} s; state in ${state}`, '', ...addresses]
  if (mandate !== undefined) {
    const curl = (method: string, path: string) =>
      `  curl -i ${method}-H 'Authorization: Bearer ${mandate}' ${endpoints.gateway}/r/notes${path}`
    lines.push(
      '',
      heading('Allowed: the agent reads a note. It has no key of the notes API; the Gateway puts it in.'),
      curl('', '/notes/1'),
      '',
      heading('Refused: its mandate does not hold the scope to delete one.'),
      curl('-X DELETE ', '/notes/1'),
      '',
      'The mandate lives 15 minutes. Next: `npx caracal canary`, `npx caracal get resources`, `npx caracal explain <X-Request-Id>`. Ctrl-C stops.',
    )
  }
  return lines
}
