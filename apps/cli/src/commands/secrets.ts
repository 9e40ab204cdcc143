import { readFileSync } from 'node:fs'
import { stringify } from 'yaml'
import { CliError } from '../cli-error.ts'
import { OPTIONAL_KEYS, runtimeSecret } from '../runtime-secret.ts'
import { readSecretFile } from '../secret-file.ts'
import type { CommandContext } from './command.ts'

export type GenerateOptions = {
  readonly output: string
  readonly profile?: string
  readonly with: readonly string[]
  readonly name: string
  readonly namespace?: string
  readonly databaseHost?: string
  readonly databasePort: string
  readonly databaseName: string
  readonly databaseUser: string
  readonly databaseSslmode?: string
  readonly databasePasswordFile?: string
  readonly redisHost?: string
  readonly redisPort: string
  readonly redisDatabase: string
  readonly redisPlaintext: boolean
  readonly redisPasswordFile?: string
  readonly keep?: string
}

const FORMS = ['manifest', 'yaml', 'values'] as const
const SSL_MODES = ['verify-full', 'require', 'disable']
/** What the dev overlay calls its own Postgres; it has no Redis. */
const DEV_DATABASE_HOST = 'caracal-postgres'

/**
 * Prints the runtime Secret with fresh random values: a manifest for `kubectl apply -f -`, or values for a chart that shall make the
 * Secret itself. Nothing is stored anywhere else, so what is printed is the only copy.
 */
export function generateSecrets({ output }: CommandContext, options: GenerateOptions): void {
  const form = FORMS.find((one) => one === options.output)
  if (form === undefined) throw wrong(`-o is one of ${FORMS.join(', ')}, not ${options.output}.`)
  if (options.profile !== undefined && options.profile !== 'dev') throw wrong(`--profile is dev or absent, not ${options.profile}.`)
  for (const one of options.with) {
    if (!OPTIONAL_KEYS.includes(one)) throw wrong(`--with takes ${OPTIONAL_KEYS.join(', ')}, not ${one}.`)
  }
  const dev = options.profile === 'dev'
  const keep = options.keep === undefined ? {} : keptData(options.keep)
  const data = runtimeSecret({
    database: {
      host: options.databaseHost ?? (dev ? DEV_DATABASE_HOST : hostOf(keep.databaseUrl, '--database-host')),
      port: portOf(options.databasePort, '--database-port'),
      name: options.databaseName,
      user: options.databaseUser,
      sslMode: sslModeOf(options.databaseSslmode ?? (dev ? 'disable' : 'verify-full'), dev),
      password: passwordOf(options.databasePasswordFile, '--database-password-file'),
    },
    redis:
      dev && options.redisHost === undefined
        ? undefined
        : {
            host: options.redisHost ?? hostOf(keep.redisUrl, '--redis-host'),
            port: portOf(options.redisPort, '--redis-port'),
            database: databaseNumber(options.redisDatabase),
            tls: !plaintextAllowed(options.redisPlaintext, dev),
            password: passwordOf(options.redisPasswordFile, '--redis-password-file'),
          },
    optional: options.with,
    keep,
  })
  if (form === 'values') {
    const values = { secrets: { plaintext: data } }
    output.line(output.json ? JSON.stringify(values) : stringify(values, { lineWidth: 0 }).trimEnd())
  } else {
    const manifest = manifestOf(options, data)
    output.line(output.json ? JSON.stringify(manifest) : stringify(manifest, { lineWidth: 0 }).trimEnd())
  }
  output.note(
    'This is the only copy. Applying a second, different one replaces zoneKek, and what the first one sealed opens with nothing else: use --keep to add to a Secret.',
  )
}

function manifestOf({ name, namespace }: GenerateOptions, stringData: Readonly<Record<string, string>>) {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, ...(namespace === undefined ? {} : { namespace }), labels: { 'app.kubernetes.io/part-of': 'caracal' } },
    type: 'Opaque',
    stringData,
  }
}

/** Values of a Secret as `kubectl get secret … -o json` prints it. */
function keptData(path: string): Readonly<Record<string, string>> {
  const text = path === '-' ? readFileSync(0, 'utf8') : readSecretFile(path, 'The file of --keep')
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw wrong('--keep is not JSON.', 'Give it what `kubectl get secret caracal-runtime -o json` prints.')
  }
  const { data } = (parsed ?? {}) as { readonly data?: unknown }
  if (typeof data !== 'object' || data === null || !Object.values(data).every((one) => typeof one === 'string'))
    throw wrong('--keep is not a Secret.', 'Give it what `kubectl get secret caracal-runtime -o json` prints.')
  const entries = Object.entries(data as Readonly<Record<string, string>>)
  return Object.fromEntries(entries.map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]))
}

function hostOf(url: string | undefined, option: string): string {
  const kept = url === undefined ? undefined : URL.parse(url)?.hostname
  if (kept === undefined || kept === '') throw wrong(`${option} is missing.`, 'Say where the store is, or use --profile dev.')
  return kept
}

function portOf(text: string, option: string): number {
  const port = Number(text)
  if (!/^\d{1,5}$/.test(text) || port < 1 || port > 65_535) throw wrong(`${option} is a port, not ${text}.`)
  return port
}

function databaseNumber(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw wrong(`--redis-database is a whole number, not ${text}.`)
  return Number(text)
}

function sslModeOf(mode: string, dev: boolean): string {
  if (!SSL_MODES.includes(mode)) throw wrong(`--database-sslmode is one of ${SSL_MODES.join(', ')}, not ${mode}.`)
  if (mode === 'disable' && !dev) throw wrong('--database-sslmode disable is for --profile dev only.')
  return mode
}

function plaintextAllowed(plaintext: boolean, dev: boolean): boolean {
  if (plaintext && !dev) throw wrong('--redis-plaintext is for --profile dev only.')
  return plaintext
}

/** A password that exists already: what the store demands counts, but nobody may have to guess less than this. */
const LEAST_PASSWORD = 12

function passwordOf(path: string | undefined, option: string): string | undefined {
  if (path === undefined) return undefined
  const password = readSecretFile(path, `The file of ${option}`)
  if (password.length < LEAST_PASSWORD) throw wrong(`The password of ${option} has fewer than ${LEAST_PASSWORD} characters.`)
  return password
}

function wrong(message: string, fix?: string): CliError {
  return new CliError(message, fix, { exitCode: 2 })
}
