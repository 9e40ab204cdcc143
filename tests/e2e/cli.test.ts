import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { caracal, type Installation, startInstallation } from './installation.ts'

const MAIN = join(import.meta.dirname, '../../apps/cli/src/main.ts')
const STACK = /\n {4}at |node:internal|file:\/\//

let installation: Installation
const folder = mkdtempSync(join(tmpdir(), 'caracal-cli-'))

beforeAll(async () => {
  installation = await startInstallation()
  expect((await installation.caracal(['canary'])).code).toBe(0)
}, 60_000)
afterAll(async () => {
  await installation.remove()
  rmSync(folder, { recursive: true, force: true })
})

const run = (args: readonly string[], env: Record<string, string> = {}) => installation.caracal(args, env)
const json = async (args: readonly string[], env: Record<string, string> = {}) => JSON.parse((await run(['--json', ...args], env)).stdout)

describe('with several zones and none named', () => {
  test('get lists all of them with their zone; a name that stands once is enough', async () => {
    const { stdout } = await run(['get', 'resources'])
    expect(stdout).toMatch(/^zone +name/)
    expect(stdout).toMatch(/^quickstart +notes /m)
    expect(stdout).toMatch(/^canary +canary /m)
    expect(await json(['get', 'resource', 'notes'])).toMatchObject({ name: 'notes', zoneName: 'quickstart' })
  })

  test('explain finds allowed and refused calls and refused mandates by their request id, without being told where', async () => {
    const credential = JSON.parse(readFileSync(join(installation.home, 'credentials/demo-agent.json'), 'utf8')) as Record<string, string>
    const env = { CARACAL_CLIENT_ID: credential.clientId ?? '', CARACAL_CLIENT_SECRET: credential.clientSecret ?? '' }
    const token = (await run(['mandate', '-r', 'https://notes.example/'], env)).stdout.trim()
    const call = (method: string) =>
      fetch(`${installation.endpoints.gateway}/r/notes/notes/1`, { method, headers: { authorization: `Bearer ${token}` } })
    const explained = async (id: string | null | undefined) => (await run(['explain', id ?? ''])).stdout
    expect(await explained((await call('GET')).headers.get('x-request-id'))).toContain('allowed')
    expect(await explained((await call('DELETE')).headers.get('x-request-id'))).toMatch(/insufficient_scope[\s\S]*to change it/)
    const refused = await run(['mandate', '-r', 'https://notes.example/', '-s', 'notes:delete'], env)
    expect(refused.code).toBe(1)
    expect(await explained(/req_[0-9a-z]{26}/.exec(refused.stderr)?.[0])).toContain('no_rule_allows')
  })

  test('an unknown request id is answered with where to look', async () => {
    const ran = await run(['explain', 'req_00000000000000000000000000'])
    expect(ran.code).toBe(1)
    expect(ran.stderr).toContain('The ledger holds no event of that request')
  })
})

describe('what a person reads', () => {
  test('moments are dates in a table and numbers in JSON; an empty list says so beside the data', async () => {
    expect((await run(['get', 'revocations', '--zone', 'canary'])).stdout).toMatch(/\d{4}-\d\d-\d\dT\d\d:\d\d/)
    expect((await json(['get', 'revocations', '--zone', 'canary']))[0].at).toBeTypeOf('number')
    const none = await run(['get', 'sessions', '--zone', 'quickstart'])
    expect(none).toMatchObject({ code: 0, stdout: '', stderr: 'There are no sessions.\n' })
  })

  test('revoke --dry-run says what it would do and does not', async () => {
    const ran = await run(['revoke', 'resource', 'notes', '--zone', 'quickstart', '--dry-run'])
    expect(ran.stdout).toMatch(/would revoke resource res_\w{26}; nothing was changed/)
    expect(await json(['get', 'revocations', '--zone', 'quickstart'])).toEqual([])
  })

  test.each([
    [['get', 'bogus'], 2, 'There is no noun bogus'],
    [['delete', 'session', 'x'], 2, 'A session cannot be deleted'],
    [['delete', 'bogus', 'x'], 2, 'There is no noun bogus'],
    [['revoke', 'bogus', 'x', '--yes'], 2, 'bogus cannot be revoked'],
    [['explain', 'nonsense'], 2, 'is not a request id'],
    [['apply', '-f', 'no-such-file.yaml'], 2, 'no-such-file.yaml cannot be read'],
    [['bogus'], 2, "unknown command 'bogus'"],
    [['audit', 'export', '-o', '/dev/null', '--zone', 'canary', '--from', '99999'], 1, 'invalid_request: from'],
  ])('%j: exit code %i and words', async (args, code, words) => {
    const ran = await run(args as string[])
    expect(ran.code).toBe(code)
    expect(ran.stderr).toContain(words)
    expect(ran.stderr).not.toMatch(STACK)
  })

  test.each([
    [{ CARACAL_API_URL: 'http://127.0.0.1:9' }, ['get', 'zones'], 'Is `caracal up` running?'],
    [{ CARACAL_API_URL: 'nonsense' }, ['get', 'zones'], 'CARACAL_API_URL is not a URL'],
    [{ CARACAL_HOME: '/nonexistent' }, ['get', 'zones'], 'The address of api is not known'],
    [
      { CARACAL_STS_URL: 'http://127.0.0.1:9', CARACAL_CLIENT_ID: 'a', CARACAL_CLIENT_SECRET: 'b' },
      ['mandate', '-r', 'x:y'],
      'cannot be reached',
    ],
    [{ CARACAL_CLIENT_ID: 'a', CARACAL_CLIENT_SECRET_FILE: '/nonexistent' }, ['mandate', '-r', 'x:y'], 'CARACAL_CLIENT_SECRET_FILE'],
  ])('%j: words instead of a stack', async (env, args, words) => {
    const ran = await run(args, env as Record<string, string>)
    expect(ran.code).not.toBe(0)
    expect(ran.stderr).toContain(words)
    expect(ran.stderr).not.toMatch(STACK)
  })

  test('a secret that is missing is named with file, line and field, and nothing is applied', async () => {
    const file = join(folder, 'provider.yaml')
    writeFileSync(
      file,
      'kind: Zone\nname: secretless\n---\nkind: Provider\nzone: secretless\nname: key\nmethod: bearer\nhosts: [a.example]\nsecret: { fromEnv: NOT_SET }\n',
    )
    const ran = await run(['apply', '-f', file])
    expect(ran.code).toBe(1)
    expect(ran.stderr).toContain(`${file}:9:20  secret.fromEnv  the environment variable NOT_SET is not set`)
    expect((await json(['get', 'zones'])).map(({ name }: { name: string }) => name)).not.toContain('secretless')
  })

  test('whoever stops reading gets no stack', async () => {
    const said = await new Promise<string>((resolve) => {
      execFile(
        'sh',
        ['-c', `"${process.execPath}" "${MAIN}" audit verify --zone canary | head -n 1`],
        { env: { ...process.env, CARACAL_HOME: installation.home } },
        (_error, stdout, stderr) => resolve(stdout + stderr),
      )
    })
    expect(said).toMatch(/verified: \d+ events\n$/)
  })

  test('--version and --help succeed and need no service', async () => {
    expect((await caracal(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
    for (const command of ['up', 'apply', 'get', 'revoke', 'explain', 'audit', 'db']) {
      expect(await caracal([command, '--help'])).toMatchObject({ code: 0, stderr: '' })
    }
  })
})
