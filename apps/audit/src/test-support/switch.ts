import { connect, createServer, type Socket } from 'node:net'

/** A wire to a server that can be cut and mended: to who stands behind it the server is gone, and then it is back. */
export type Switch = { readonly url: string; cut(): void; mend(): void; close(): Promise<void> }

export async function openSwitch(target: string): Promise<Switch> {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let whole = true
  const server = createServer((near) => {
    near.on('error', () => {})
    if (!whole) {
      near.destroy()
      return
    }
    const far = connect(Number(port), hostname)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const url = new URL(target)
  url.hostname = '127.0.0.1'
  url.port = String(typeof address === 'object' ? address?.port : '')
  const cutAll = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: url.href,
    cut() {
      whole = false
      cutAll()
    },
    mend() {
      whole = true
    },
    async close() {
      whole = false
      cutAll()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
