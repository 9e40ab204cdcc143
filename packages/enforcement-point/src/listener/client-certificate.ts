import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { ClientCertificate } from '@caracal/enforcement'

/** A connection shows one certificate for all its calls. */
const seen = new WeakMap<Socket, ClientCertificate | null>()

/**
 * The client certificate that the TLS session of this connection proved; null when there is none, or no TLS. Only the session is
 * asked: no header is believed, whoever sends it (P-074).
 */
export function clientCertificateOf(socket: Socket): ClientCertificate | null {
  const known = seen.get(socket)
  if (known !== undefined) return known
  const certificate = socket instanceof TLSSocket ? readCertificate(socket) : null
  seen.set(socket, certificate)
  return certificate
}

/** What this connection proved counts no more: the authorities it was proven with have changed. */
export function forgetCertificateOf(socket: Socket): void {
  const known = seen.get(socket)
  if (known !== null) seen.set(socket, known === undefined ? null : { ...known, chain: OUTDATED })
}

const OUTDATED = { holds: false, why: 'the trusted authorities have changed: connect again' } as const

function readCertificate(socket: TLSSocket): ClientCertificate | null {
  const x509 = socket.getPeerX509Certificate()
  if (x509 === undefined) return null
  // Node's types say Error; it is the code of OpenSSL.
  const why: unknown = socket.authorizationError
  return { x509, chain: socket.authorized ? { holds: true } : { holds: false, why: why instanceof Error ? why.message : String(why) } }
}
