import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createLogger, defineConfiguration, followFiles, serviceSettings, trustAuthorities } from '../index.ts'
import { certificatesIn } from './certificates.ts'

const folder = mkdtempSync(join(tmpdir(), 'caracal-ca-'))
const file = (name: string) => join(folder, name)
const servers: Server[] = []

/** A server for 127.0.0.1 whose certificate is its own authority. */
async function authority(name: string): Promise<{ readonly pem: string; readonly port: number }> {
  const [key, certificate] = [file(`${name}.key`), file(`${name}.crt`)]
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1']
  const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', certificate]
  execFileSync('openssl', ['req', '-x509', '-days', '2', ...made, ...subject], { stdio: 'ignore' })
  const pem = readFileSync(certificate, 'utf8')
  const server = createServer({ key: readFileSync(key), cert: pem }, (_, response) => response.end('ok'))
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { pem, port: (server.address() as AddressInfo).port }
}

/** What a new connection says of the server. */
function trusted(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => {
      socket.end()
      resolve('trusted')
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })
}

let first: Awaited<ReturnType<typeof authority>>
let second: Awaited<ReturnType<typeof authority>>

beforeAll(async () => {
  first = await authority('first')
  second = await authority('second')
})
afterAll(() => {
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true, force: true })
})

test('[P-144] the bundle of authorities follows its file for new connections; one that is no bundle is refused and the old one stays', async () => {
  const bundle = file('ca.pem')
  const replace = (text: string) => {
    writeFileSync(`${bundle}.new`, text)
    renameSync(`${bundle}.new`, bundle)
  }
  replace(first.pem)
  const config = defineConfiguration(serviceSettings(1)).parse({ CA_BUNDLE_FILE: bundle })
  const said: string[] = []
  const logger = createLogger({ name: 'test', level: 'info', write: (line) => void said.push(line) })
  const files = followFiles(config, { logger, take: { CA_BUNDLE: trustAuthorities }, everyMs: 0 })
  trustAuthorities(config.CA_BUNDLE ?? '')
  expect([await trusted(first.port), await trusted(second.port)]).toEqual(['trusted', 'DEPTH_ZERO_SELF_SIGNED_CERT'])

  replace(first.pem + second.pem)
  await files.look()
  await files.look()
  expect([await trusted(first.port), await trusted(second.port)]).toEqual(['trusted', 'trusted'])

  replace(second.pem.replace('MII', 'MIX'))
  await files.look()
  await files.look()
  expect(said.join('')).toContain('must be PEM certificates')
  expect([await trusted(first.port), await trusted(second.port)]).toEqual(['trusted', 'trusted'])

  replace(second.pem)
  await files.look()
  await files.look()
  expect([await trusted(first.port), await trusted(second.port)]).toEqual(['DEPTH_ZERO_SELF_SIGNED_CERT', 'trusted'])
})

test.each([
  ['nothing', ''],
  ['words', 'no certificate'],
  ['a key', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----'],
  ['a certificate that is cut', '-----BEGIN CERTIFICATE-----\nAAAA'],
])('%s is no bundle', (_, text) => {
  expect(certificatesIn(text)).toBeUndefined()
})
