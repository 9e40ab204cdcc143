import { readFileSync, statSync } from 'node:fs'
import { CliError } from './cli-error.ts'

/**
 * The secret in a file, or on standard input for `-`. `what` says in words whose file it is. A file that others than its owner can read
 * or write is refused: then it is no secret, or not the one that was put there. A file of somebody else that this process may read
 * through its group is how Kubernetes mounts a Secret into a pod (0440, owned by root). Exit code 2.
 */
export function readSecretFile(path: string, what: string): string {
  let text: string
  try {
    text = path === '-' ? readFileSync(0, 'utf8') : readFileSync(path, 'utf8')
  } catch {
    throw new CliError(`${what} cannot be read: ${path}.`, undefined, { exitCode: 2, code: 'secret_key_missing' })
  }
  if (path !== '-' && (statSync(path).mode & forbiddenFor(statSync(path).uid)) !== 0)
    throw new CliError(`${what} can be read or changed by others: ${path}.`, `chmod 600 ${path}`, { exitCode: 2 })
  return text.replace(/\r?\n$/, '')
}

function forbiddenFor(owner: number): number {
  return owner === process.getuid?.() ? 0o077 : 0o037
}

/** A URL from the command line: itself where it holds no password, else from `@file` or `@-`, for others see command lines. */
export function urlArgument(text: string | undefined, option: string): string | undefined {
  if (text === undefined) return undefined
  if (text.startsWith('@')) return readSecretFile(text.slice(1), `The file of ${option}`).trim()
  if ((URL.parse(text)?.password ?? '') !== '')
    throw new CliError(
      `${option} has a password, which every user of this machine can see on a command line.`,
      `Put the URL into a file of mode 600 and give ${option} @<file>, or @- for standard input.`,
      { exitCode: 2 },
    )
  return text
}
