import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, freshDatabaseUrl, startPostgres } from '@caracal/harness'
import pg from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { caracal, freeOffset, startInstallation } from './installation.ts'

const homes: string[] = []
const home = () => {
  const made = mkdtempSync(join(tmpdir(), 'caracal-startup-'))
  homes.push(made)
  return made
}

afterAll(() => {
  for (const made of homes) rmSync(made, { recursive: true, force: true })
})

/** What a person reads, without a line of code in it. */
const expectWords = (text: string) => {
  expect(text).not.toMatch(/\n {4}at |node:internal|file:\/\//)
  return expect(text)
}

describe('a start that cannot be', () => {
  test('every port that is taken is named with whose it is, and what to do; nothing is left behind', async () => {
    const at = home()
    const offset = await freeOffset()
    const taken = [3000, 8090].map((port) => port + offset)
    const servers = await Promise.all(
      taken.map(async (port) => {
        const server = createServer()
        await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
        return server
      }),
    )
    const ran = await caracal(['up', '--port-offset', String(offset)], { CARACAL_HOME: at })
    for (const server of servers) server.close()
    expect(ran.code).toBe(1)
    expectWords(ran.stderr).toContain(`${taken[0]} (api): already in use`)
    expect(ran.stderr).toContain(`${taken[1]} (the notes API of the quick start): already in use`)
    expect(ran.stderr).toContain('--port-offset 100')
    expect(readdirSync(at)).toEqual([])
  })

  test.concurrent.each(['abc', '-5', '1.5', '60000'])('--port-offset %s is wrong use', async (offset) => {
    const ran = await caracal(['up', `--port-offset=${offset}`], { CARACAL_HOME: home() })
    expect(ran.code).toBe(2)
    expectWords(ran.stderr).toContain('--port-offset is a whole number from 0 to')
  })

  test('a state folder that cannot be one is named', async () => {
    const at = join(home(), 'file')
    writeFileSync(at, '')
    const ran = await caracal(['up'], { CARACAL_HOME: at })
    expect(ran.code).toBe(1)
    expectWords(ran.stderr).toContain(`The state folder ${at} cannot be used`)
    expect(ran.stderr).toContain('CARACAL_HOME')
  })

  test.concurrent.each([
    [['--database-url', 'nonsense'], 'the database URL is not a URL', '--database-url'],
    [
      ['--database-url', 'postgres://caracal:geheim@127.0.0.1:9/caracal'],
      'Nothing answers as Postgres at 127.0.0.1:9',
      'the host in --database-url',
    ],
    [['--redis-url', 'nonsense'], '--redis-url is not a URL', 'redis://'],
    [['--redis-url', 'redis://:geheim@127.0.0.1:9'], 'Redis at 127.0.0.1:9 cannot be used', '--redis-url'],
  ])('%s: says what is wrong, without the password', async (args, words, setting) => {
    const [option = '', url = ''] = args
    // A password comes from a file.
    const file = join(home(), 'url')
    writeFileSync(file, url, { mode: 0o600 })
    const given = url.includes('geheim') ? `@${file}` : url
    const ran = await caracal(['up', '--port-offset', String(await freeOffset()), option, given], { CARACAL_HOME: home() })
    expect(ran.code).not.toBe(0)
    expectWords(ran.stderr).toContain(words)
    expect(ran.stderr).toContain(setting)
    expect(ran.stderr).not.toContain('geheim')
  })
})

describe('an end that was not planned', () => {
  test('Ctrl-C while it starts ends it at once and gives the folder back', async () => {
    const at = home()
    const child = spawn(
      process.execPath,
      [join(import.meta.dirname, '../../apps/cli/src/main.ts'), 'up', '--port-offset', String(await freeOffset())],
      { env: { ...process.env, CARACAL_HOME: at }, stdio: ['ignore', 'ignore', 'pipe'] },
    )
    let said = ''
    for await (const chunk of child.stderr) {
      said += chunk
      if (said.includes('migrating')) child.kill('SIGINT')
    }
    expect(child.exitCode ?? (await new Promise((resolve) => child.once('exit', resolve)))).toBe(130)
    expectWords(said).not.toContain('error:')
    expect(existsSync(join(at, 'lock'))).toBe(false)
  })

  test('[P-143] after a kill -9 the next start takes the folder over, and what was answered before is in the ledger', async () => {
    const at = home()
    const first = await startInstallation({ home: at })
    expect((await first.caracal(['canary'])).code).toBe(0)
    const before = JSON.parse((await first.caracal(['--json', 'get', 'revocations', '--zone', 'canary'])).stdout)
    await first.stop('SIGKILL')
    expect(existsSync(join(at, 'lock'))).toBe(true)

    const second = await startInstallation({ home: at })
    expect(JSON.parse((await second.caracal(['--json', 'get', 'revocations', '--zone', 'canary'])).stdout)).toEqual(before)
    const canary = await second.caracal(['--json', 'canary'])
    expect(JSON.parse(canary.stdout), canary.stderr).toMatchObject({ ok: true })
    const verified = await second.caracal(['audit', 'verify', '--zone', 'canary'])
    expect(verified.code, verified.stdout).toBe(0)
    expect(await second.stop()).toBe(0)
  }, 60_000)
})

describe('caracal db with a wrong address', () => {
  const db = async (env: Record<string, string>) => {
    const ran = await caracal(['db', 'migrate', 'up'], env)
    expect(ran.code).not.toBe(0)
    expect(ran.stderr).not.toContain('geheim')
    return expectWords(ran.stderr)
  }

  test('[4-26] names the setting to look at, and shows neither stack nor password', async () => {
    const server = await startPostgres()
    try {
      const admin = new pg.Client({ connectionString: server.url })
      await admin.connect()
      await admin.query("CREATE ROLE locked LOGIN PASSWORD 'right'")
      await admin.query('CREATE ROLE powerless LOGIN')
      await admin.query('CREATE DATABASE empty')
      await admin.end()
      writeFileSync(join(server.dataDir, 'pg_hba.conf'), 'host all locked all scram-sha-256\nhost all all all trust\n')
      server.signal('SIGHUP')
      const { hostname, port } = new URL(server.url)
      const parts = { DB_HOST: hostname, DB_PORT: port, DB_NAME: 'empty', DB_USER: 'caracal', DB_PASSWORD: 'geheim' }
      await Promise.all([
        db({ ...parts, DB_HOST: 'no-such-host.invalid' }).then((said) => said.toContain('Look at DB_HOST')),
        db({ ...parts, DB_PORT: String(await freePort()) }).then((said) => said.toContain('Look at DB_HOST and DB_PORT')),
        db({ ...parts, DB_NAME: 'absent' }).then((said) => said.toContain('Look at DB_NAME')),
        db({ ...parts, DB_USER: 'locked' }).then((said) => said.toContain('Look at DB_USER and DB_PASSWORD')),
        db({ ...parts, DB_USER: 'powerless' }).then((said) => said.toContain('Look at DB_USER')),
        db({ ...parts, DB_SSLMODE: 'verify-full' }).then((said) => said.toContain('DB_SSLMODE')),
        db({ ...parts, DB_SSLMODE: 'sometimes' }).then((said) => said.toContain('DB_SSLMODE')),
        db({ DATABASE_URL: `postgres://locked:geheim@${hostname}:${port}/empty` }).then((said) =>
          said.toContain('the password in DATABASE_URL'),
        ),
        db({ DATABASE_URL: 'geheim' }).then((said) => said.toContain('DATABASE_URL')),
      ])
    } finally {
      await server.stop()
    }
  }, 60_000)

  test('with the right address it works, from another order of settings', async () => {
    const url = new URL(await freshDatabaseUrl())
    const ran = await caracal(['db', 'migrate', 'up'], {
      DB_PASSWORD: 'unused',
      DB_USER: url.username,
      DB_NAME: url.pathname.slice(1),
      DB_PORT: url.port,
      DB_HOST: url.hostname,
    })
    expect(ran.code, ran.stderr).toBe(0)
  })
})
