import { generateKeyPair, type KeyObject } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { CliError } from '../cli-error.ts'
import { selfSignedCertificate } from '../self-signed-certificate.ts'
import type { CommandContext } from './command.ts'

const BITS = 4096
const DAY_MS = 86_400_000
/** How the Gateway is called in its cluster and through a port-forward. */
const SERVER_NAMES = ['caracal-gateway', 'caracal-gateway.caracal', 'caracal-gateway.caracal.svc', 'localhost', '127.0.0.1']

type Keys = { readonly publicKey: KeyObject; readonly privateKey: KeyObject }
type Written = { readonly name: string; readonly text: string; readonly secret: boolean }

const newKeys = promisify(generateKeyPair)

/**
 * What the compact deployment needs to be tried out, without openssl and ssh-keygen: a self-signed pair for the Gateway, an authority
 * for client certificates and a key pair for tokens. Nothing that is there is overwritten without `force`; private files are readable
 * by their owner only.
 */
export async function generateCertificates(
  { output }: CommandContext,
  options: { dir: string; days: string; host: readonly string[]; force: boolean },
): Promise<void> {
  const { dir, force } = options
  if (!/^[1-9]\d{0,4}$/.test(options.days)) throw new CliError(`${options.days} is not a number of days.`, undefined, { exitCode: 2 })
  const names = [...SERVER_NAMES, ...options.host]
  const foreign = options.host.find((name) => !/^[A-Za-z0-9*._-]{1,253}$/.test(name))
  if (foreign !== undefined) throw new CliError(`${foreign} is not a host name.`, undefined, { exitCode: 2 })
  const there = FILES.map((name) => join(dir, name)).filter((file) => existsSync(file))
  if (there.length > 0 && !force)
    throw new CliError(`${there.join(', ')} would be overwritten; nothing was written.`, 'Choose another --dir, or repeat it with --force.')

  mkdirSync(dir, { recursive: true })
  output.note(`generating three RSA keys of ${BITS} bits, which takes a few seconds`)
  const made = ['server', 'client authority', 'token'].map(async (what) => {
    const keys: Keys = await newKeys('rsa', { modulusLength: BITS })
    output.note(`  ${what} key`)
    return keys
  })
  const [server, authority, tokens] = (await Promise.all(made)) as [Keys, Keys, Keys]
  const from = new Date(Math.floor(Date.now() / 1000) * 1000)
  const to = new Date(from.getTime() + Number(options.days) * DAY_MS)
  const files: readonly Written[] = [
    { name: 'server.key', text: pkcs8(server), secret: true },
    {
      name: 'server.crt',
      text: selfSignedCertificate(server, { commonName: 'caracal-gateway', names, authority: false, from, to }),
      secret: false,
    },
    { name: 'ca.key', text: pkcs8(authority), secret: true },
    {
      name: 'ca.crt',
      text: selfSignedCertificate(authority, { commonName: 'caracal-ca', names: [], authority: true, from, to }),
      secret: false,
    },
    { name: 'jwt_private.pem', text: pem(tokens.privateKey.export({ type: 'pkcs1', format: 'pem' })), secret: true },
    { name: 'jwt_public.pem', text: pem(tokens.publicKey.export({ type: 'spki', format: 'pem' })), secret: false },
  ]
  for (const { name, text, secret } of files) write(join(dir, name), text, secret ? 0o600 : 0o644, force)
  if (output.json) return output.line(JSON.stringify({ dir, files: FILES, notAfter: to.toISOString() }))
  for (const { name } of files) output.line(join(dir, name))
  output.note(
    `They end on ${to.toISOString().slice(0, 10)} and are for trying out: in production take certificates of an authority that clients trust.`,
  )
  output.note('Next, put what the Gateway needs into its Secret; ca.key and jwt_private.pem stay with you:')
  const froms = ['server.crt', 'server.key', 'ca.crt', 'jwt_public.pem'].map((name) => `--from-file=${name}=${join(dir, name)}`)
  output.note(
    `  kubectl create secret generic caracal-tls ${froms.join(' ')} --namespace=caracal --dry-run=client -o yaml > tls-secret-generated.yaml`,
  )
}

const FILES = ['server.key', 'server.crt', 'ca.key', 'ca.crt', 'jwt_private.pem', 'jwt_public.pem'] as const

/** In one step, so that nobody reads half of it; a file that came meanwhile is not replaced. */
function write(file: string, text: string, mode: number, force: boolean): void {
  if (!force) {
    writeFileSync(file, text, { mode, flag: 'wx' })
    return
  }
  const next = `${file}.new`
  writeFileSync(next, text, { mode })
  chmodSync(next, mode)
  renameSync(next, file)
}

function pkcs8({ privateKey }: Keys): string {
  return pem(privateKey.export({ type: 'pkcs8', format: 'pem' }))
}

function pem(text: string | Buffer): string {
  return text.toString()
}
