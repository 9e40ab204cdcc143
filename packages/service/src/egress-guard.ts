import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { ok, type Result, refuse } from '@caracal/core'
import { buildConnector } from 'undici'
import { type Cidr, isAddressAllowed, isAddressListed } from './address-class.ts'

/** Every address of a host name, as the system resolver gives them. Rejects when there is none. */
export type Resolve = (host: string) => Promise<readonly string[]>

export type EgressRules = {
  /** Ranges of non-public addresses that are let through. */
  readonly allow: readonly Cidr[]
  /** Public addresses, too, only when they are in `allow`: for what goes out in clear. */
  readonly listedOnly?: boolean
  /** Longest time for the name, and again for the connection with its TLS handshake. Milliseconds. */
  readonly connectMs: number
}

export type EgressRefusal = 'upstream_not_allowed' | 'upstream_unreachable' | 'upstream_timeout'

/** What a guarded connection fails with; `reason` is what the caller is told. */
export class EgressError extends Error {
  override readonly name = 'EgressError'
  readonly reason: EgressRefusal

  constructor(reason: EgressRefusal, message: string, options?: ErrorOptions) {
    super(message, options)
    this.reason = reason
  }
}

/** The one way out of this process: whatever calls something outside does it through a connector from here (P-080). */
export type EgressGuard = {
  /** The addresses of `host` that may be dialled, or why none may: one that is not allowed condemns all. */
  check(host: string, rules: EgressRules): Promise<Result<readonly string[], EgressRefusal>>
  /** An undici connector that checks when it connects and dials exactly a checked address; names are asked once for each connection. */
  connector(rules: EgressRules): buildConnector.connector
}

export type EgressOptions = {
  readonly resolve?: Resolve
  /** When given, only these hosts: exact, or everything below one that begins with a dot (`.example.com`). */
  readonly allowHosts?: readonly string[] | undefined
}

export function createEgressGuard(options: EgressOptions = {}): EgressGuard {
  const resolve = options.resolve ?? resolveWithSystem
  const allowHosts = options.allowHosts?.map((host) => host.toLowerCase())

  const check: EgressGuard['check'] = async (host, rules) => {
    const name = host.replace(/^\[(.*)\]$/, '$1').toLowerCase()
    const listed = (entry: string) => (entry.startsWith('.') ? name.endsWith(entry) : name === entry)
    if (allowHosts !== undefined && !allowHosts.some(listed)) return refuse('upstream_not_allowed', 'the host is not in the allow-list')
    let addresses: readonly string[]
    try {
      addresses = isIP(name) === 0 ? await inTime(resolve(name), rules.connectMs) : [name]
    } catch (error) {
      if (error instanceof EgressError) return refuse(error.reason, error.message)
      return refuse('upstream_unreachable', 'the name of the upstream does not resolve')
    }
    if (addresses.length === 0) return refuse('upstream_unreachable', 'the name of the upstream does not resolve')
    const mayDial = rules.listedOnly === true ? isAddressListed : isAddressAllowed
    return addresses.every((address) => mayDial(address, rules.allow))
      ? ok(addresses)
      : refuse('upstream_not_allowed', 'the upstream resolves to an address that is not allowed')
  }

  return {
    check,
    connector: (rules) => {
      const dial = buildConnector({ allowH2: false, timeout: rules.connectMs })
      return (target, done) => {
        connectChecked(target).then(
          (socket) => done(null, socket),
          (error: Error) => done(error, null),
        )
      }

      async function connectChecked(target: buildConnector.Options) {
        const checked = await check(target.hostname, rules)
        if (!checked.ok) throw new EgressError(checked.reason, checked.detail ?? checked.reason)
        const tls = target.protocol === 'https:'
        // The certificate is checked against the name, the connection goes to the address: nothing is resolved again.
        const name = target.hostname.replace(/^\[(.*)\]$/, '$1')
        const named = { ...target, servername: isIP(name) === 0 ? name : undefined }
        let failure: unknown
        for (const address of checked.value) {
          const { servername, ...rest } = named
          const to = { ...rest, hostname: address, ...(tls && servername !== undefined ? { servername } : {}) }
          try {
            return await new Promise<Parameters<buildConnector.Callback>[1] & object>((resolved, rejected) =>
              dial(to, (...[error, socket]) => (error === null ? resolved(socket) : rejected(error))),
            )
          } catch (error) {
            failure = error
          }
        }
        throw asEgressError(failure)
      }
    },
  }
}

async function resolveWithSystem(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map((answer) => answer.address)
}

async function inTime<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new EgressError('upstream_timeout', 'the name of the upstream was not resolved in time')), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

function asEgressError(cause: unknown): EgressError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT')
    return new EgressError('upstream_timeout', 'the upstream did not accept the connection in time', { cause })
  return new EgressError('upstream_unreachable', 'the upstream does not accept connections', { cause })
}
