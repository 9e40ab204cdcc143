import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freshDatabaseUrl, redisUrl } from '@caracal/harness'
import { afterAll, describe, expect, test } from 'vitest'
import { caracal, freeOffset, startInstallation } from './installation.ts'

type CanaryReport = { ok: boolean; steps: { name: string; ok: boolean; ms: number; detail: string }[] }

const homes: string[] = []
const home = () => {
  const made = mkdtempSync(join(tmpdir(), 'caracal-up-'))
  homes.push(made)
  return made
}

afterAll(() => {
  for (const made of homes) rmSync(made, { recursive: true, force: true })
})

describe('caracal up', () => {
  test('[P-149] the first start leads to an allowed and a refused call; the second finds everything that the first left', async () => {
    const folder = home()
    const first = await startInstallation({ home: folder })
    const credential = join(folder, 'credentials/demo-agent.json')
    expect(statSync(credential).mode & 0o777).toBe(0o600)
    const before = readFileSync(credential, 'utf8')
    const zones = await first.caracal(['--json', 'get', 'zones'])
    expect(JSON.parse(zones.stdout)).toMatchObject([{ name: 'quickstart' }])
    expect(await first.stop()).toBe(0)

    const second = await startInstallation({ home: folder })
    expect(readFileSync(credential, 'utf8')).toBe(before)
    expect(JSON.parse((await second.caracal(['--json', 'get', 'zones'])).stdout)).toEqual(JSON.parse(zones.stdout))
    const canary = await second.caracal(['--json', 'canary'])
    expect(JSON.parse(canary.stdout), canary.stderr).toMatchObject({ ok: true })
    expect(await second.stop('SIGINT')).toBe(0)
  }, 90_000)

  test('the curl lines that it prints do what it says they do', async () => {
    const folder = home()
    const offset = await freeOffset()
    const printed = await new Promise<string>((resolve, reject) => {
      let text = ''
      const child = execFile(
        process.execPath,
        [join(import.meta.dirname, '../../apps/cli/src/main.ts'), 'up', '--port-offset', String(offset)],
        {
          env: { ...process.env, CARACAL_HOME: folder, NO_COLOR: '1' },
        },
      )
      child.stdout?.on('data', (chunk) => {
        text += chunk
        if (!text.includes('Ctrl-C stops')) return
        const curls = text.split('\n').filter((line) => line.trim().startsWith('curl'))
        Promise.all(curls.map(shell)).then((answers) => {
          resolve(answers.join('\n=====\n'))
          child.kill('SIGTERM')
        }, reject)
      })
      child.once('exit', (code) => reject(new Error(`ended with ${code}: ${text}`)))
    })
    const [allowed, refused] = printed.split('=====')
    expect(allowed).toContain('HTTP/1.1 200 OK')
    expect(allowed).toContain('without ever holding the key')
    expect(refused).toContain('HTTP/1.1 403 Forbidden')
    expect(refused).toContain('insufficient_scope')
  }, 60_000)

  test('[P-143] a second one on the same folder is told who has it', async () => {
    const running = await startInstallation()
    const second = await running.caracal(['up', '--port-offset', '5000'])
    expect(second.code).toBe(1)
    expect(second.stderr).toMatch(/Another `caracal up` \(pid \d+\)/)
    await running.remove()
  }, 60_000)

  test('the same on a Postgres and a Redis server: the canary holds', async () => {
    const installation = await startInstallation({ args: ['--database-url', await freshDatabaseUrl(), '--redis-url', redisUrl()] })
    const canary = await installation.caracal(['--json', 'canary'])
    const report = JSON.parse(canary.stdout) as CanaryReport
    expect(report.ok, JSON.stringify(report, null, 2) + installation.output()).toBe(true)
    expect(report.steps.map((step) => step.name)).toEqual([
      'set up',
      'token exchange',
      'governed call',
      'refused operation',
      'refused scope',
      'audit evidence',
      'inclusion proof',
      'revocation',
    ])
    expect(canary.code).toBe(0)
    await installation.remove()
  }, 90_000)
})

describe('caracal db', () => {
  test('[4-26] init and migrate up succeed in either order and any number of times', async () => {
    const env = { DATABASE_URL: await freshDatabaseUrl() }
    expect((await caracal(['db', 'migrate', 'status'], env)).code).toBe(3)
    for (const args of [
      ['db', 'migrate', 'up'],
      ['db', 'init'],
      ['db', 'init'],
      ['db', 'migrate', 'up'],
    ]) {
      const ran = await caracal(args, env)
      expect(ran.code, ran.stderr).toBe(0)
    }
    expect((await caracal(['db', 'migrate', 'status'], env)).code).toBe(0)
  }, 60_000)

  test('[0-24] there is no way down', async () => {
    const down = await caracal(['db', 'migrate', 'down'])
    expect(down.code).toBe(2)
    expect(down.stderr).toContain('forward')
  })

  test('the parts of an address are taken one by one, with any character in the password', async () => {
    const url = new URL(await freshDatabaseUrl())
    const parts = {
      DB_HOST: url.hostname,
      DB_PORT: url.port,
      DB_NAME: url.pathname.slice(1),
      DB_USER: url.username,
      DB_PASSWORD: 'a/+=@:%&? #',
    }
    expect((await caracal(['db', 'migrate', 'up'], parts)).code).toBe(0)
    const both = await caracal(['db', 'init'], { ...parts, DATABASE_URL: url.href })
    expect(both.code).toBe(2)
    expect(both.stderr).toContain('DATABASE_URL and DB_HOST')
  }, 60_000)
})

function shell(line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('sh', ['-c', line], (error, stdout) => (error === null ? resolve(stdout) : reject(error)))
  })
}
