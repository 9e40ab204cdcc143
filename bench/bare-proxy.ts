import { createServer } from 'node:http'
import { Pool } from 'undici'

/**
 * The measure of what Node can do at all: `node:http` in front, an undici pool behind, nothing in between.
 * Its own process: `node bench/bare-proxy.ts <port> <origin of the upstream>`.
 */
const [port = '', origin = ''] = process.argv.slice(2)
const pool = new Pool(origin, { connections: 1_024, pipelining: 1 })
const CONNECTION_ONLY = new Set(['connection', 'keep-alive', 'transfer-encoding', 'host'])

const server = createServer((request, response) => {
  const headers: Record<string, string | string[]> = {}
  for (const name in request.headers) {
    const value = request.headers[name]
    if (value !== undefined && !CONNECTION_ONLY.has(name)) headers[name] = value
  }
  const method = request.method ?? 'GET'
  const body = method === 'GET' || method === 'HEAD' ? null : request
  pool
    .stream({ path: request.url ?? '/', method, headers, body }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers)
      return response
    })
    .catch(() => {
      if (response.headersSent) response.destroy()
      else response.writeHead(502).end()
    })
})
server.listen(Number(port), '127.0.0.1')
process.once('SIGTERM', () => process.exit(0))
