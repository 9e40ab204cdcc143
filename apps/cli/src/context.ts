import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { CliError } from './cli-error.ts'
import { readSecretFile } from './secret-file.ts'

/** Where the services are and with what the CLI speaks to them. */
export type Context = {
  readonly api: string
  readonly sts: string
  readonly gateway: string
  readonly audit: string
  readonly coordinator: string
  /** Admin token for API and Audit. */
  readonly token: string
}

/** Addresses of a running `caracal up`, written by it into its state folder. */
export type Endpoints = Omit<Context, 'token'>

/** The folder that `caracal up` keeps its state in: `CARACAL_HOME`, else `.caracal` below the current folder. */
export function stateDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return resolve(env.CARACAL_HOME ?? '.caracal')
}

/**
 * Reads `CARACAL_API_URL`, `CARACAL_STS_URL`, `CARACAL_GATEWAY_URL`, `CARACAL_AUDIT_URL`, `CARACAL_COORDINATOR_URL` and
 * `CARACAL_TOKEN` or `CARACAL_TOKEN_FILE`; whatever is not set comes from the state folder of `caracal up`.
 */
export function loadContext(env: NodeJS.ProcessEnv = process.env): Context {
  const state = stateDirectory(env)
  const endpoints = readEndpoints(state)
  const address = (name: keyof Endpoints): string => {
    const value = env[`CARACAL_${name.toUpperCase()}_URL`] ?? endpoints?.[name]
    if (value === undefined) {
      throw new CliError(
        `The address of ${name} is not known.`,
        `Run \`caracal up\` in this folder, or set CARACAL_${name.toUpperCase()}_URL (and CARACAL_TOKEN_FILE).`,
      )
    }
    if (!/^https?:$/.test(URL.parse(value)?.protocol ?? '')) {
      throw new CliError(`CARACAL_${name.toUpperCase()}_URL is not a URL that begins with http:// or https://.`, undefined, { exitCode: 2 })
    }
    return value.replace(/\/$/, '')
  }
  return {
    get api() {
      return address('api')
    },
    get sts() {
      return address('sts')
    },
    get gateway() {
      return address('gateway')
    },
    get audit() {
      return address('audit')
    },
    get coordinator() {
      return address('coordinator')
    },
    get token() {
      return readToken(env, state)
    },
  }
}

function readEndpoints(state: string): Endpoints | undefined {
  const file = join(state, 'endpoints.json')
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Endpoints) : undefined
}

function readToken(env: NodeJS.ProcessEnv, state: string): string {
  if (env.CARACAL_TOKEN) return env.CARACAL_TOKEN
  const file = env.CARACAL_TOKEN_FILE ?? join(state, 'keys', 'admin-token')
  if (file !== '-' && !existsSync(file))
    throw new CliError('There is no admin token.', `Set CARACAL_TOKEN_FILE, or run \`caracal up\` in this folder (looked at ${file}).`)
  return readSecretFile(file, 'The file of the admin token').trim()
}
