/**
 * `node tests/cluster/connection-prober.ts`, in the network of a pod: makes every connection that standard input lists and prints how
 * each ended, in the same order. `answered`: somebody was there; `closed`: the way is open and nobody listens; `stopped`: somebody in
 * between said that it is not allowed; `silent`: nothing came back.
 */
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'

export type Target = {
  readonly address: string
  readonly port: number
  readonly protocol: 'TCP' | 'UDP'
  /** The own address to call from, where there are several. */
  readonly from?: string
}
export type Outcome = 'answered' | 'closed' | 'stopped' | 'silent'

const PATIENCE_MS = 5_000
const AT_ONCE = 200

const outcomeOf = (error: NodeJS.ErrnoException): Outcome | undefined =>
  ({ ECONNREFUSED: 'closed', EHOSTUNREACH: 'stopped' })[error.code ?? ''] as Outcome | undefined

function overTcp({ address, port, from }: Target): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, localAddress: from, timeout: PATIENCE_MS })
    const end = (outcome: Outcome) => {
      socket.destroy()
      resolve(outcome)
    }
    socket.once('connect', () => end('answered'))
    socket.once('timeout', () => end('silent'))
    socket.once('error', (error) => {
      const outcome = outcomeOf(error)
      if (outcome === undefined) reject(error)
      else end(outcome)
    })
  })
}

/** A question for a name of the cluster, whoever is asked: what listens in these tests answers any datagram. */
const QUESTION = Buffer.concat([
  Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
  ...['kubernetes', 'default', 'svc', 'cluster', 'local', ''].flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]),
  Buffer.from([0, 1, 0, 1]),
])

function overUdp({ address, port, from }: Target): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4')
    const again = setInterval(() => socket.send(QUESTION, () => {}), 1_000)
    const late = setTimeout(() => end('silent'), PATIENCE_MS)
    const end = (outcome: Outcome) => {
      clearInterval(again)
      clearTimeout(late)
      socket.close()
      resolve(outcome)
    }
    socket.once('message', () => end('answered'))
    socket.on('error', (error) => {
      const outcome = outcomeOf(error)
      if (outcome === undefined) reject(error)
      else end(outcome)
    })
    socket.bind(0, from, () => socket.connect(port, address, () => socket.send(QUESTION, () => {})))
  })
}

const targets = JSON.parse(await text(process.stdin)) as readonly Target[]
const outcomes: Outcome[] = []
let next = 0
const worker = async () => {
  for (let index = next++; index < targets.length; index = next++) {
    const target = targets[index]
    if (target !== undefined) outcomes[index] = await (target.protocol === 'UDP' ? overUdp : overTcp)(target)
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, worker))
process.stdout.write(JSON.stringify(outcomes))
