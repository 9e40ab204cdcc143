import type { RouteRow } from '@caracal/service'

export type MatchedRow = { readonly template: string; readonly params: Readonly<Record<string, string>> }

/** Which row of the table a request is for, as conditions of policies see it: `operation.template` and `operation.params`. */
export function rowsByPath(rows: readonly Pick<RouteRow, 'method' | 'path'>[]): (method: string, path: string) => MatchedRow | undefined {
  const table = rows.map(({ method, path }) => ({ method, path, segments: path.split('/') }))
  // Literal segments before parameters, as the router has it.
  table.sort((a, b) => parameters(a.segments) - parameters(b.segments))
  return (method, path) => {
    const asked = path.split('/')
    const found = table.find((row) => row.method === (method === 'HEAD' ? 'GET' : method) && fits(row.segments, asked))
    if (found === undefined) return undefined
    const named = found.segments.flatMap((segment, at) => (segment.startsWith(':') ? [[segment.slice(1), asked[at] ?? '']] : []))
    return { template: found.path.replaceAll(/:([a-z]+)/g, '{$1}'), params: Object.fromEntries(named) as Record<string, string> }
  }
}

function parameters(segments: readonly string[]): number {
  return segments.filter((segment) => segment.startsWith(':')).length
}

function fits(segments: readonly string[], asked: readonly string[]): boolean {
  return segments.length === asked.length && segments.every((segment, at) => segment.startsWith(':') || segment === asked[at])
}
