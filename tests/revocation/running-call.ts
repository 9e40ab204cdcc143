import { createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'

/** How a call ended, as its client saw it. */
export type Ending = {
  /** `performance.now()` of the moment. */
  readonly at: number
  readonly status: number
  readonly body: string
  readonly trailers: NodeJS.Dict<string>
  /** Whether the answer ended as HTTP says that it ends. */
  readonly complete: boolean
}

/** A call under way. */
export type RunningCall = { readonly kind: 'stream' | 'upload'; readonly ended: Promise<Ending>; stop(): void }

export type Upstream = { readonly port: number; readonly open: () => number; stop(): Promise<void> }

/** `/stream` sends one event and then nothing, for ever; `/upload` takes whatever comes and answers at its end; all else is answered at once. */
export async function startUpstream(): Promise<Upstream> {
  let open = 0
  const server = createServer((incoming, outgoing) => {
    open += 1
    outgoing.once('close', () => {
      open -= 1
    })
    incoming.resume()
    incoming.on('error', () => {})
    if (incoming.url?.startsWith('/stream') === true) {
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' })
      outgoing.write('data: begun\n\n')
    } else incoming.once('end', () => outgoing.writeHead(200).end('done'))
  })
  server.keepAliveTimeout = 60_000
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    open: () => open,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Opens an event stream; resolves when its first event is here. */
export function openStream(gateway: string, path: string, mandate: string): Promise<RunningCall> {
  return new Promise((resolve, reject) => {
    const going = request(`${gateway}${path}stream`, { headers: { authorization: `Bearer ${mandate}` }, agent: false })
    const ended = endOf(going)
    going.once('response', (incoming) => {
      if (incoming.statusCode !== 200) void ended.then(({ body }) => reject(new Error(`stream: ${incoming.statusCode} ${body}`)))
      else incoming.once('data', () => resolve({ kind: 'stream', ended, stop: () => void going.destroy() }))
    })
    going.once('error', reject)
    going.end()
  })
}

/** Starts an upload that goes on until it is stopped; resolves when some of it is at the upstream. */
export function startUpload(gateway: string, path: string, mandate: string): Promise<RunningCall> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${mandate}`, 'content-type': 'application/octet-stream', expect: '100-continue' }
    const going = request(`${gateway}${path}upload`, { method: 'POST', headers, agent: false })
    const ended = endOf(going)
    const timer = setInterval(() => going.write('x'.repeat(100)), 20)
    void ended.then(() => clearInterval(timer))
    // The Gateway asks for the body when a connection to the upstream has taken the head.
    going.once('continue', () => resolve({ kind: 'upload', ended, stop: () => void going.destroy() }))
    going.once('response', (incoming) => {
      if (incoming.statusCode !== 200) void ended.then(({ body }) => reject(new Error(`upload: ${incoming.statusCode} ${body}`)))
    })
    going.once('error', reject)
    going.flushHeaders()
  })
}

function endOf(going: ReturnType<typeof request>): Promise<Ending> {
  return new Promise((resolve) => {
    let answer: IncomingMessage | undefined
    let body = ''
    const done = () =>
      resolve({
        at: performance.now(),
        status: answer?.statusCode ?? 0,
        body,
        trailers: answer?.trailers ?? {},
        complete: answer?.complete ?? false,
      })
    going.once('response', (incoming) => {
      answer = incoming
      incoming.on('data', (chunk) => {
        body += String(chunk)
      })
      incoming.on('error', done)
      incoming.once('end', done)
      incoming.once('close', done)
    })
    going.on('error', done)
    going.once('close', done)
  })
}

/** One call that is over at once; its status, or 0 when there was no answer, with the code of a refusal. */
export async function callOnce(
  gateway: string,
  path: string,
  mandate: string,
): Promise<{ readonly status: number; readonly code: string }> {
  const answer = await fetch(`${gateway}${path}ping`, { headers: { authorization: `Bearer ${mandate}` } })
  const text = await answer.text()
  return { status: answer.status, code: /"code":"(\w+)"/.exec(text)?.[1] ?? '' }
}
