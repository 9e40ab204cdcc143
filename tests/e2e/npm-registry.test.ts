import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '@caracal/harness'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Installation, type Ran, startInstallation } from './installation.ts'

const EXAMPLE = join(import.meta.dirname, '../../examples/npm-registry')

/** A stock Verdaccio and the stock npm with Caracal between them: neither is patched, mocked or told that it is there. */
let work: string
let verdaccio: ChildProcess
let registry: string
let token: string
let installation: Installation
let agent: { env: Record<string, string>; folder: string }

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'caracal-npm-'))
  const port = await freePort()
  registry = `http://127.0.0.1:${port}`
  installation = await startInstallation()
  verdaccio = await startVerdaccio(port, `${installation.endpoints.gateway}/r/npm/`)
  token = await userToken()
  await publishFixture('left-padding')
  await publishFixture('@acme/tool')
  agent = await setUpAgent(port)
}, 120_000)

afterAll(async () => {
  verdaccio?.kill('SIGKILL')
  await installation?.remove()
  rmSync(work, { recursive: true, force: true })
})

describe('npm behind the Gateway', () => {
  test('npm view shows a package', async () => {
    const viewed = await npm(agent.folder, agent.env, ['view', 'left-padding', '--json'])
    expect(viewed.code, viewed.stderr).toBe(0)
    expect(JSON.parse(viewed.stdout)).toMatchObject({ name: 'left-padding', version: '1.0.0' })
  })

  test('npm install brings the package, scoped ones too, and the tarball is byte-identical', async () => {
    const installed = await npm(agent.folder, agent.env, ['install', 'left-padding', '@acme/tool', '--no-audit', '--no-fund'])
    expect(installed.code, installed.stderr).toBe(0)
    for (const name of ['left-padding', '@acme/tool']) {
      const got = readFileSync(join(agent.folder, 'node_modules', name, 'blob.bin'))
      expect(digest(got)).toBe(digest(readFileSync(join(work, 'fixtures', name, 'blob.bin'))))
    }
    const mandate = agent.env.MANDATE ?? ''
    const [through, direct] = await Promise.all([
      fetch(`${installation.endpoints.gateway}/r/npm/left-padding/-/left-padding-1.0.0.tgz`, {
        headers: { authorization: `Bearer ${mandate}` },
      }),
      fetch(`${registry}/left-padding/-/left-padding-1.0.0.tgz`, { headers: { authorization: `Bearer ${token}` } }),
    ])
    expect(through.status).toBe(200)
    expect(digest(new Uint8Array(await through.arrayBuffer()))).toBe(digest(new Uint8Array(await direct.arrayBuffer())))
  })

  test('npm publish is refused with a reason that npm shows, and nothing was published', async () => {
    const folder = fixture('evil-twin')
    const published = await npm(folder, agent.env, ['publish', '--registry', agent.env.npm_config_registry ?? ''])
    expect(published.code).not.toBe(0)
    expect(published.stderr).toContain('insufficient_scope')
    const direct = await fetch(`${registry}/evil-twin`, { headers: { authorization: `Bearer ${token}` } })
    expect(direct.status).toBe(404)
  })

  test('without a mandate, and without the Gateway, the registry gives nothing', async () => {
    const anonymous = await fetch(`${installation.endpoints.gateway}/r/npm/left-padding`)
    expect(anonymous.status).toBe(401)
    const around = await fetch(`${registry}/left-padding`, { headers: { authorization: `Bearer ${agent.env.MANDATE}` } })
    expect(around.status).toBe(401)
  })

  test('the registry token is nowhere on the agent side, in no log, no event and no file of the installation [P-086]', async () => {
    const bundle = join(work, 'bundle.jsonl')
    const exported = await exportWhenComplete(bundle)
    expect(exported).toContain('call.allowed')
    expect(exported).not.toContain(token)
    expect(installation.output()).not.toContain(token)
    for (const place of [agent.folder, join(work, 'agent-home')])
      for (const file of filesBelow(place)) expect(readFileSync(file).includes(token), file).toBe(false)
    await installation.stop()
    for (const file of filesBelow(installation.home)) expect(readFileSync(file).includes(token), file).toBe(false)
  })
})

async function startVerdaccio(port: number, publicUrl: string): Promise<ChildProcess> {
  const folder = join(work, 'verdaccio')
  mkdirSync(folder)
  cpSync(join(EXAMPLE, 'verdaccio.yaml'), join(folder, 'verdaccio.yaml'))
  const main = join(EXAMPLE, 'node_modules/verdaccio/bin/verdaccio')
  const child = spawn(process.execPath, [main, '--config', join(folder, 'verdaccio.yaml'), '--listen', `127.0.0.1:${port}`], {
    env: { ...process.env, VERDACCIO_PUBLIC_URL: publicUrl },
    stdio: 'ignore',
  })
  const deadline = Date.now() + 30_000
  for (;;) {
    const answered = await fetch(`http://127.0.0.1:${port}/-/ping`).then(
      (response) => response.ok,
      () => false,
    )
    if (answered) return child
    if (Date.now() > deadline) throw new Error('Verdaccio does not answer')
    await sleep(100)
  }
}

async function userToken(): Promise<string> {
  const answer = await fetch(`${registry}/-/user/org.couchdb.user:maintainer`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'maintainer', password: randomBytes(16).toString('hex') }),
  })
  return ((await answer.json()) as { token: string }).token
}

/** A package with bytes that no text layer survives. */
function fixture(name: string): string {
  const folder = join(work, 'fixtures', name)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, version: '1.0.0', description: 'a package of the test' }))
  writeFileSync(join(folder, 'blob.bin'), randomBytes(300_000))
  return folder
}

/** A person publishes directly, with the real token. */
async function publishFixture(name: string): Promise<void> {
  const folder = fixture(name)
  const home = join(work, 'maintainer-home')
  mkdirSync(home, { recursive: true })
  writeFileSync(join(home, '.npmrc'), `registry=${registry}/\n${registry.replace('http:', '')}/:_authToken=${token}\n`)
  const published = await npm(folder, { HOME: home, npm_config_userconfig: join(home, '.npmrc') }, ['publish', '--access', 'public'])
  if (published.code !== 0) throw new Error(published.stderr)
}

async function setUpAgent(port: number): Promise<typeof agent> {
  const documents = join(work, 'documents')
  mkdirSync(documents)
  for (const file of readdirSync(join(EXAMPLE, 'documents'))) {
    writeFileSync(join(documents, file), readFileSync(join(EXAMPLE, 'documents', file), 'utf8').replaceAll('4873', String(port)))
  }
  const applied = await installation.caracal(['apply', '-f', documents], { VERDACCIO_TOKEN: token })
  if (applied.code !== 0) throw new Error(applied.stderr)
  const created = await installation.caracal(['--json', 'credential', 'create', 'build-agent', '--zone', 'registry'])
  if (created.code !== 0) throw new Error(created.stderr)
  const { client_id, client_secret } = JSON.parse(created.stdout) as { client_id: string; client_secret: string }
  const minted = await installation.caracal(
    ['mandate', '--resource', 'https://registry.example/', '--scope', 'package:read', '--ttl', '900'],
    {
      CARACAL_CLIENT_ID: client_id,
      CARACAL_CLIENT_SECRET: client_secret,
    },
  )
  if (minted.code !== 0) throw new Error(minted.stderr)
  const mandate = minted.stdout.trim()
  const home = join(work, 'agent-home')
  const folder = join(work, 'agent-project')
  mkdirSync(home)
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'agent-project', version: '1.0.0', private: true }))
  const base = `${installation.endpoints.gateway}/r/npm/`
  writeFileSync(join(home, '.npmrc'), `registry=${base}\n${base.replace('http:', '')}:_authToken=\${MANDATE}\n`)
  return {
    folder,
    env: {
      HOME: home,
      npm_config_userconfig: join(home, '.npmrc'),
      npm_config_cache: join(home, 'cache'),
      npm_config_registry: base,
      MANDATE: mandate,
    },
  }
}

function npm(cwd: string, env: Record<string, string>, args: readonly string[]): Promise<Ran> {
  // npm reads every npm_* variable as configuration: those of whoever runs this test must not reach it.
  const outside = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)))
  return new Promise((resolve) => {
    execFile(
      'npm',
      [...args, '--loglevel', 'http'],
      { cwd, env: { ...outside, ...env, npm_config_update_notifier: 'false' } },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, stdout, stderr })
      },
    )
  })
}

/** The evidence of a call arrives in the ledger a moment after the call. */
async function exportWhenComplete(file: string): Promise<string> {
  const deadline = Date.now() + 15_000
  for (;;) {
    const exported = await installation.caracal(['audit', 'export', '--zone', 'registry', '--output', file])
    if (exported.code === 0) {
      const text = readFileSync(file, 'utf8')
      if (text.includes('call.allowed') || Date.now() > deadline) return text
    } else if (Date.now() > deadline) throw new Error(exported.stderr)
    await sleep(200)
  }
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
