/**
 * Takes every connection and answers every datagram on the ports that PORTS lists. Where there are several addresses ADDRESSES lists
 * them: an answer has to come from the one that was asked.
 */
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'

const addresses = (process.env.ADDRESSES ?? '0.0.0.0').split(',')
const ports = (process.env.PORTS ?? '').split(',').map(Number)
for (const own of addresses) {
  for (const port of ports) {
    createServer((socket) => socket.on('error', () => socket.destroy()).end()).listen(port, own)
    const socket = createSocket('udp4')
    socket.on('message', (_message, from) => socket.send('answered', from.port, from.address)).bind(port, own)
  }
}
process.on('SIGTERM', () => process.exit(0))
