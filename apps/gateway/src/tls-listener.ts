import { constants, X509Certificate } from 'node:crypto'
import type { Server } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket, TlsOptions } from 'node:tls'
import { type EnforcementPoint, forgetCertificateOf } from '@caracal/enforcement-point'
import { certificatesIn } from '@caracal/service'
import { contextOf, pairFault, type TlsValues } from './tls-settings.ts'

type Files = { readonly cert: string; readonly key: string; readonly ca: string | undefined }

/** A new certificate and its key are two files: the other one is waited for this long. Milliseconds. */
const PAIR_MS = 3_000
const PAIR_LOOK_MS = 50
/** A client that does not finish its handshake. Milliseconds. */
const HANDSHAKE_MS = 10_000

/** What the TLS listener is made with, and keeps current from its files. */
export type TlsListening = {
  readonly options: TlsOptions
  /** Follows the files for this server, and measures it. */
  readonly serve: (server: Server, point: Pick<EnforcementPoint, 'metrics' | 'takes' | 'logger' | 'clock'>) => void
}

/**
 * TLS of the Gateway. In `mtls` every client is asked for a certificate and none needs one: who comes without may read `/health` and
 * `/ready`, and calls are refused one by one. New files count for new connections, and the old ones go on; new authorities of clients
 * count at once, so that connections which older ones vouched for have to be made again.
 */
export function tlsListening(values: TlsValues, mode: string): TlsListening {
  const { TLS_CERT: cert, TLS_KEY: key } = values
  if (cert === undefined || key === undefined) throw new Error('a listener with TLS has a certificate and a key')
  const asksClients = mode === 'mtls'
  const ca = (text: string | undefined) => (asksClients ? text : undefined)
  let wanted: Files = { cert, key, ca: ca(values.TLS_CA) }
  let inUse = wanted

  const optionsOf = (files: Files): TlsOptions => ({
    ...contextOf(files),
    // A resumed session would carry on what older authorities vouched for.
    ...(asksClients ? { secureOptions: constants.SSL_OP_NO_TICKET } : {}),
  })

  /** Certificate and key may come one after the other; only what fits together is used. */
  async function replace(server: Server, change: Partial<Files>): Promise<void> {
    wanted = { ...wanted, ...change }
    const until = performance.now() + PAIR_MS
    for (let fault = pairFault(wanted); fault !== null; fault = pairFault(wanted)) {
      if (performance.now() >= until) throw new Error(`${fault.name} ${fault.rule}`)
      await sleep(PAIR_LOOK_MS)
    }
    server.setSecureContext(optionsOf(wanted))
    inUse = wanted
  }

  return {
    options: { ...optionsOf(inUse), requestCert: asksClients, rejectUnauthorized: false, handshakeTimeout: HANDSHAKE_MS },
    serve(server, { metrics, takes, logger, clock }) {
      const connections = new Set<TLSSocket>()
      server.on('secureConnection', (socket: TLSSocket) => {
        connections.add(socket)
        socket.once('close', () => connections.delete(socket))
      })
      const failed = metrics.counter('caracal_tls_handshake_failures_total', 'Connections that ended before TLS stood.')
      server.on('tlsClientError', (_error: Error, socket: TLSSocket) => {
        failed.inc()
        socket.destroy()
      })
      metrics.gauge(
        'caracal_tls_not_after_seconds',
        'When the first certificate of a TLS file ends, as Unix time.',
        ['certificate'],
        (own) => {
          own.set({ certificate: 'server' }, endOf(inUse.cert))
          if (inUse.ca !== undefined) own.set({ certificate: 'ca' }, endOf(inUse.ca))
        },
      )
      if (endOf(inUse.cert) * 1000 <= clock()) logger.warn({ setting: 'TLS_CERT' }, 'the certificate has ended: clients will refuse it')
      takes('TLS_CERT', (text) => replace(server, { cert: text }))
      takes('TLS_KEY', (text) => replace(server, { key: text }))
      takes('TLS_CA', async (text) => {
        if (!asksClients) return
        await replace(server, { ca: text })
        for (const socket of connections) forgetCertificateOf(socket)
        server.closeIdleConnections()
      })
    },
  }
}

/** When the first of these certificates ends, in Unix seconds. */
function endOf(pem: string): number {
  return Math.min(...(certificatesIn(pem) ?? []).map((one) => new X509Certificate(one).validToDate.getTime() / 1000))
}
