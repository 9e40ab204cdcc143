import { connect, createServer, type Socket } from 'node:net'

export type Balancer = { readonly url: string; stop(): Promise<void> }

/** Spreads TCP connections over several addresses in turn, each to the first that takes it; it reads nothing and repeats nothing. */
export async function startBalancer(port: number, urls: readonly string[]): Promise<Balancer> {
  const open = new Set<Socket>()
  let turn = 0
  const server = createServer((client) => {
    open.add(client)
    client.once('close', () => open.delete(client))
    turn += 1
    const others = urls.map((_, at) => urls[(turn + at) % urls.length] ?? '')
    const attempt = ([url, ...rest]: readonly string[]) => {
      if (url === undefined) return client.destroy()
      const upstream = connect(Number(new URL(url).port), '127.0.0.1', () => {
        upstream.removeAllListeners('error')
        upstream.on('error', () => client.destroy())
        upstream.on('close', () => upstream.readableEnded || client.destroy())
        client.on('close', () => upstream.destroy())
        client.pipe(upstream)
        upstream.pipe(client)
      })
      upstream.once('error', () => attempt(rest))
    }
    client.on('error', () => client.destroy())
    attempt(others)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return {
    url: `http://127.0.0.1:${port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of open) socket.destroy()
      }),
  }
}
