import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What the upstream saw of one request: which credential, and whether anything of the caller's came through. */
export type Seen = { readonly method: string; readonly path: string; readonly apiKey: string | null; readonly authorization: string | null }

export type CanaryUpstream = {
  readonly url: string
  /** Requests seen, oldest first; the last hundred. */
  readonly seen: readonly Seen[]
  stop(): Promise<void>
}

/**
 * A small notes API behind an API key: the upstream of the quick start and of the canary. It answers 401 without the key,
 * so that a call which works shows that the Gateway injected it.
 */
export async function startCanaryUpstream(options: { port: number; host?: string; apiKey: string }): Promise<CanaryUpstream> {
  const seen: Seen[] = []
  const notes = new Map([['1', { id: '1', text: 'An agent read this without ever holding the key.' }]])
  const server = createServer((request, response) => {
    const apiKey = request.headers['x-api-key']
    seen.push({
      method: request.method ?? '',
      path: request.url ?? '',
      apiKey: typeof apiKey === 'string' ? apiKey : null,
      authorization: request.headers.authorization ?? null,
    })
    if (seen.length > 100) seen.shift()
    request.resume()
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`)
    }
    if (apiKey !== options.apiKey) return answer(401, { error: 'the API key is missing or wrong' })
    const id = /^\/notes\/([^/?]+)$/.exec(request.url ?? '')?.[1]
    if (request.method === 'GET' && request.url === '/notes') return answer(200, { notes: [...notes.values()] })
    if (request.method === 'GET' && id !== undefined && notes.has(id)) return answer(200, notes.get(id))
    if (request.method === 'DELETE' && id !== undefined) return answer(200, { deleted: notes.delete(id) })
    return answer(404, { error: 'no such note' })
  })
  await listen(server, options.port, options.host ?? '127.0.0.1')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => resolve())
  })
}
