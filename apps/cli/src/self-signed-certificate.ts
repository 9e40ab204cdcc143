import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto'
import { isIPv4 } from 'node:net'

/** What a self-signed certificate says. Names are DNS names and IPv4 addresses. */
export type CertificateContents = {
  readonly commonName: string
  readonly names: readonly string[]
  readonly authority: boolean
  readonly from: Date
  readonly to: Date
}

/** A self-signed X.509 certificate (RFC 5280) of an RSA key, signed with SHA-256, as PEM. */
export function selfSignedCertificate(
  keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject },
  contents: CertificateContents,
): string {
  const spki = keys.publicKey.export({ type: 'spki', format: 'der' })
  const name = sequence(set(sequence(oid(OIDS.commonName), utf8(contents.commonName))))
  const toBeSigned = sequence(
    tagged(0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    SHA256_WITH_RSA,
    name,
    sequence(time(contents.from), time(contents.to)),
    name,
    spki,
    tagged(3, sequence(...extensions(spki, contents))),
  )
  const signature = sign('sha256', toBeSigned, keys.privateKey)
  const der = sequence(toBeSigned, SHA256_WITH_RSA, bits(signature))
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

const OIDS = {
  sha256WithRsa: '1.2.840.113549.1.1.11',
  commonName: '2.5.4.3',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
}

/** RFC 5280 §4.2.1.3: bits from the left. */
const SIGNS_CERTIFICATES = Buffer.from([0x06])
const SIGNS_AND_ENCRYPTS = Buffer.from([0xa0])

function extensions(spki: Buffer, { names, authority }: CertificateContents): Buffer[] {
  const identifier = createHash('sha1').update(spki).digest()
  return [
    extension(OIDS.subjectKeyIdentifier, false, tlv(0x04, identifier)),
    extension(OIDS.basicConstraints, true, authority ? sequence(tlv(0x01, Buffer.from([0xff]))) : sequence()),
    extension(OIDS.keyUsage, true, authority ? bits(SIGNS_CERTIFICATES, 1) : bits(SIGNS_AND_ENCRYPTS, 5)),
    ...(authority ? [] : [extension(OIDS.extendedKeyUsage, false, sequence(oid(OIDS.serverAuth)))]),
    ...(names.length === 0 ? [] : [extension(OIDS.subjectAltName, false, sequence(...names.map(alternativeName)))]),
  ]
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [tlv(0x01, Buffer.from([0xff]))] : []), tlv(0x04, value))
}

function alternativeName(name: string): Buffer {
  return isIPv4(name) ? tlv(0x87, Buffer.from(name.split('.').map(Number))) : tlv(0x82, Buffer.from(name, 'ascii'))
}

// X.690, distinguished encoding.

function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content])
  const length = Buffer.from(content.length.toString(16).replace(/^(?:..)*.$/, '0$&'), 'hex')
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, content])
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tlv(0x30, ...parts)
}

function set(...parts: readonly Buffer[]): Buffer {
  return tlv(0x31, ...parts)
}

function tagged(number: number, part: Buffer): Buffer {
  return tlv(0xa0 | number, part)
}

/** Positive: the first bit is clear. */
function integer(bytes: Buffer): Buffer {
  return tlv(0x02, bytes)
}

function bits(bytes: Buffer, unused = 0): Buffer {
  return tlv(0x03, Buffer.from([unused]), bytes)
}

function utf8(text: string): Buffer {
  return tlv(0x0c, Buffer.from(text, 'utf8'))
}

/** RFC 5280 §4.1.2.5: two digits of the year before 2050, four from then on. */
function time(at: Date): Buffer {
  const text = at.toISOString().replace(/[-:T]|\.\d+/g, '')
  return at.getUTCFullYear() < 2050 ? tlv(0x17, Buffer.from(text.slice(2), 'ascii')) : tlv(0x18, Buffer.from(text, 'ascii'))
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return tlv(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}

function base128(value: number): number[] {
  const digits = [value & 0x7f]
  for (let left = value >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80)
  return digits
}

const SHA256_WITH_RSA = sequence(oid(OIDS.sha256WithRsa), tlv(0x05))
