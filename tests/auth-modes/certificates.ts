import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

/** Runs openssl in a folder; throws with what it said. */
export function openssl(folder: string, args: string): void {
  execFileSync('openssl', words(args), { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
}

/** Words of a command line; `"…"` keeps blanks. */
export function words(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
}

export type Made = { readonly cert: string; readonly key: string }

/** A self-signed authority on P-256. */
export function authority(folder: string, name: string, subject = `/CN=${name}`): Made {
  openssl(
    folder,
    `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${name}.key -out ${name}.crt -days 30 -subj "${subject}"`,
  )
  return { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) }
}

const KEYS = { ec: 'ec -pkeyopt ec_paramgen_curve:P-256', rsa: 'rsa:2048', ed25519: 'ed25519' } as const

/** A certificate of that authority. Times as `YYYYMMDDHHMMSSZ`. */
export function issued(
  folder: string,
  by: Made,
  name: string,
  options: {
    readonly subject?: string
    readonly san?: string
    readonly key?: keyof typeof KEYS
    readonly from?: string
    readonly to?: string
    readonly usage?: string
  } = {},
): Made {
  const { subject = `/CN=${name}`, san, key = 'ec', from, to, usage = 'clientAuth' } = options
  const extensions = [`-addext extendedKeyUsage=${usage}`, ...(san === undefined ? [] : [`-addext subjectAltName=${san}`])].join(' ')
  openssl(folder, `req -newkey ${KEYS[key]} -nodes -keyout ${name}.key -out ${name}.csr -subj "${subject}" ${extensions}`)
  if (from === undefined && to === undefined) {
    openssl(
      folder,
      `x509 -req -in ${name}.csr -CA ${by.cert} -CAkey ${by.key} -CAcreateserial -days 30 -copy_extensions copyall -out ${name}.crt`,
    )
  } else dated(folder, by, name, from ?? '20200101000000Z', to ?? '20991231235959Z')
  return { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) }
}

/** `openssl x509` of 3.0 knows no dates; `openssl ca` does. */
function dated(folder: string, by: Made, name: string, from: string, to: string): void {
  const config = `[ca]
default_ca = own
[own]
database = ${name}.db
new_certs_dir = .
serial = ${name}.srl
default_md = sha256
policy = any
copy_extensions = copyall
unique_subject = no
[any]
commonName = supplied
`
  execFileSync('sh', ['-c', `cat > ${name}.cnf && : > ${name}.db && echo 01 > ${name}.srl`], { cwd: folder, input: config })
  openssl(
    folder,
    `ca -batch -config ${name}.cnf -cert ${by.cert} -keyfile ${by.key} -in ${name}.csr -out ${name}.crt -startdate ${from} -enddate ${to} -notext`,
  )
}
