import { createPublicKey, type webcrypto } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Bench, ms, type Timed, timed } from '../bench.ts'
import { type Figure, median, relative } from '../figure.ts'
import { startHaproxy } from '../haproxy.ts'
import type { Installation } from '../installation.ts'
import { untilSettled } from '../ledger.ts'
import type { Server } from '../server.ts'
import { CALL_PATH, mintForm, type Zone } from '../zone.ts'

const CONNECTIONS = 64
/** More than the Gateway keeps of verified mandates (20,000): by the time one comes again it is forgotten. */
const MANDATES = 24_000

/**
 * A signature checked and a header put in, per call, with a mandate that was not seen before: one Gateway process next to one thread of
 * HAProxy. The Gateway cannot be told to leave out the decision and the evidence, so it does those as well.
 */
export async function verifyAndInject({ installation, zone, seconds, turns, warm }: Bench): Promise<Figure[]> {
  const file = join(installation.folder, 'mandates')
  const minted = await mintToFile(installation, zone, file, seconds < 5 ? 2_000 : MANDATES)
  const haproxy = await startJwtHaproxy(installation, zone, file)
  const { gateway } = installation.services
  const call = (url: string, duration: number) =>
    timed(installation, { script: 'call', url: url + CALL_PATH, connections: CONNECTIONS, seconds: duration, settings: { file } })
  await call(haproxy.url, warm)
  await call(gateway.url, warm)
  const theirs: Timed[] = []
  const ours: Timed[] = []
  for (let turn = 0; turn < turns; turn += 1) {
    theirs.push(await call(haproxy.url, seconds))
    ours.push(await call(gateway.url, seconds))
    await untilSettled(installation, zone)
  }
  await haproxy.stop()

  const rate = (runs: readonly Timed[]) => median(runs.map(({ perSecond }) => perSecond))
  const typical = (runs: readonly Timed[]) => runs.find(({ perSecond }) => perSecond === rate(runs)) as Timed
  const figure = (name: string, runs: readonly Timed[], note: string, least: number | null) =>
    relative(
      {
        name,
        value: rate(runs),
        unit: 'calls/s',
        errors: runs.reduce((sum, run) => sum + run.errors, 0),
        cpu: typical(runs).cpuPerRequest,
        more: { p50: ms(typical(runs).p50), p99: ms(typical(runs).p99) },
        note,
      },
      rate(theirs),
      least,
    )
  return [
    figure(
      'HAProxy jwt_verify (ES256) and set-header, one thread, 64 connections',
      theirs,
      'no decision, no evidence, no revocation',
      null,
    ),
    figure(
      'Gateway, signature checked on every call, one process, 64 connections',
      ours,
      `${minted} mandates in turn; it also decides, looks at revocations and writes evidence, which cannot be switched off`,
      1,
    ),
  ]
}

/** Mints until the file has so many mandates, one per line; says how many they are. */
async function mintToFile(installation: Installation, zone: Zone, file: string, least: number): Promise<number> {
  writeFileSync(file, '', { mode: 0o600 })
  let minted = 0
  for (let tries = 0; minted < least && tries < 30; tries += 1) {
    const run = await timed(installation, {
      script: 'mint',
      url: `${installation.services.sts.url}/oauth/2/token`,
      connections: CONNECTIONS,
      seconds: 3,
      settings: { file, credentials: zone.credentialsFile, form: mintForm({ ttl: '900' }) },
    })
    minted += run.counts.minted ?? 0
  }
  if (minted < least) throw new Error(`only ${minted} mandates could be minted beforehand`)
  return minted
}

/** HAProxy that forwards what carries a mandate signed by the zone, with the key of the upstream instead of it. */
async function startJwtHaproxy(installation: Installation, zone: Zone, file: string): Promise<Server> {
  const [token = ''] = readFileSync(file, 'utf8').split('\n', 1)
  const { kid } = JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }
  const answer = await fetch(`${installation.services.sts.url}/zones/${zone.id}/jwks.json`)
  const { keys } = (await answer.json()) as { keys: (webcrypto.JsonWebKey & { kid: string })[] }
  const key = keys.find((one) => one.kid === kid)
  if (key === undefined) throw new Error(`the key ${kid} is not published`)
  const pem = join(installation.folder, 'zone-key.pem')
  writeFileSync(pem, createPublicKey({ key, format: 'jwk' }).export({ type: 'spki', format: 'pem' }))
  const haproxy = await startHaproxy(installation.folder, 'haproxy', [
    '  http-request set-var(txn.mandate) http_auth_bearer',
    `  http-request deny deny_status 401 unless { var(txn.mandate),jwt_verify("ES256","${pem}") -m int 1 }`,
    '  http-request del-header authorization',
    '  http-request set-header X-Api-Key items-key-0123456789abcdef',
    '  default_backend upstream',
    'backend upstream',
    '  http-reuse always',
    `  server upstream 127.0.0.1:${installation.upstream.port}`,
  ])
  return installation.watch(haproxy)
}
