import { NAME } from '@caracal/core'
import type { Mode } from '@caracal/service'

/** An MCP server behind the adapter: reached over Streamable HTTP, or a program that is started here and spoken to over its pipes. */
export type McpServer =
  | { readonly name: string; readonly kind: 'http'; readonly url: URL }
  | { readonly name: string; readonly kind: 'stdio'; readonly command: string; readonly args: readonly string[] }

export type McpServers = ReadonlyMap<string, McpServer>

/** Runs with the rights of this process and under nobody's limits: for a laptop. */
const STDIO = 'stdio:'

/**
 * Reads `name=url` entries. What is wrong names the entry by its name or its place, never by its URL, which could hold a secret.
 * `name=stdio:program argument …` (no shell, no quotes) is for dev.
 */
export function readMcpServers(
  entries: readonly string[],
  mode: Mode,
): { readonly servers: McpServers; readonly faults: readonly string[] } {
  const servers = new Map<string, McpServer>()
  const faults: string[] = []
  for (const [at, entry] of entries.entries()) {
    const separator = entry.indexOf('=')
    const name = separator < 0 ? '' : entry.slice(0, separator).trim()
    const target = entry.slice(separator + 1).trim()
    if (!NAME.test(name)) {
      faults.push(`entry ${at + 1} must be name=url, with the name of a resource`)
      continue
    }
    const server = target.startsWith(STDIO) ? readStdio(name, target.slice(STDIO.length), mode) : readUrl(name, target)
    if (typeof server === 'string') faults.push(`${name} ${server}`)
    else if (servers.has(name)) faults.push(`${name} stands twice`)
    else servers.set(name, server)
  }
  return { servers, faults }
}

function readUrl(name: string, text: string): McpServer | string {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) return 'must be an http or https URL'
  if (url.username !== '' || url.password !== '') return 'must not carry credentials: they belong to the provider of its resource'
  if (url.search !== '' || url.hash !== '') return 'must have no query and no fragment'
  return { name, kind: 'http', url }
}

function readStdio(name: string, line: string, mode: Mode): McpServer | string {
  if (mode !== 'dev') return 'is a stdio server: for CARACAL_MODE=dev only'
  const [command = '', ...args] = line.trim().split(/\s+/)
  return command === '' ? 'must name a program after stdio:' : { name, kind: 'stdio', command, args }
}

/** Whether two URLs mean the same endpoint; a slash at the end says nothing. */
export function isSameEndpoint(one: string, other: URL): boolean {
  if (!URL.canParse(one)) return false
  const url = new URL(one)
  return url.origin === other.origin && withoutSlash(url.pathname) === withoutSlash(other.pathname)
}

function withoutSlash(path: string): string {
  return path.replace(/\/+$/, '')
}
