import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freshDatabaseUrl } from '@caracal/harness'
import type { Command } from 'commander'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { program } from '../../apps/cli/src/main.ts'
import { caracal, type Installation, startInstallation } from './installation.ts'

const folder = mkdtempSync(join(tmpdir(), 'caracal-contract-'))
let installation: Installation
let env: Record<string, string>

beforeAll(async () => {
  installation = await startInstallation()
  const credential = JSON.parse(readFileSync(join(installation.home, 'credentials/demo-agent.json'), 'utf8')) as Record<string, string>
  env = {
    CARACAL_CLIENT_ID: credential.clientId ?? '',
    CARACAL_CLIENT_SECRET: credential.clientSecret ?? '',
    DATABASE_URL: await freshDatabaseUrl(),
  }
  writeFileSync(join(folder, 'spare.yaml'), 'kind: Application\nzone: quickstart\nname: spare\nlabels: [spare]\n')
}, 120_000)
afterAll(async () => {
  await installation?.remove()
  rmSync(folder, { recursive: true, force: true })
})

/** Every command that there is, by its words. */
function leaves(command: Command, path: readonly string[] = []): string[] {
  return command.commands.flatMap((child) => {
    const here = [...path, child.name()]
    return child.commands.length > 0 ? leaves(child, here) : [here.join(' ')]
  })
}

/** What JSON looks like without its values: members in order, of lists the first item. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shape)
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : typeof value
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((name) => [name, shape((value as Record<string, unknown>)[name])]),
  )
}

/** In the order in which they can run on one installation: arguments, and the exit code that is promised. */
const RUNS: Readonly<Record<string, { readonly args: readonly string[]; readonly code: number }>> = {
  'db migrate status': { args: [], code: 3 },
  'db status': { args: [], code: 3 },
  'secrets generate': { args: ['--profile', 'dev'], code: 0 },
  preflight: { args: [], code: 0 },
  'kek adopt': { args: [], code: 2 },
  'ledger restored': { args: [], code: 2 },
  'rollout check': { args: ['--phase', 'then'], code: 2 },
  'rollout plan': { args: ['--backup-at', 'some day'], code: 2 },
  'db init': { args: [], code: 0 },
  'db migrate up': { args: [], code: 0 },
  'db migrate down': { args: [], code: 2 },
  apply: { args: ['-f', join(folder, 'spare.yaml')], code: 0 },
  get: { args: ['application', 'spare', '-z', 'quickstart'], code: 0 },
  'credential create': { args: ['spare', '-z', 'quickstart'], code: 0 },
  'credential bind': { args: ['spare', '-z', 'quickstart', '-n', 'laptop', '--match', 'subject:CN=spare'], code: 0 },
  'credential list': { args: ['spare', '-z', 'quickstart'], code: 0 },
  'credential revoke': { args: ['spare', 'laptop', '-z', 'quickstart', '--yes'], code: 0 },
  'certs generate': { args: ['--dir', folder, '--days', 'some'], code: 2 },
  'token create': { args: ['reader', '-r', 'viewer'], code: 0 },
  mandate: { args: ['-r', 'https://notes.example/', '-s', 'notes:read'], code: 0 },
  explain: { args: ['req_00000000000000000000000000', '-z', 'quickstart'], code: 1 },
  usage: { args: ['-z', 'quickstart'], code: 0 },
  'audit export': { args: ['-o', join(folder, 'bundle.jsonl'), '-z', 'quickstart'], code: 0 },
  'audit verify': { args: ['-z', 'quickstart'], code: 0 },
  revoke: { args: ['application', 'spare', '-z', 'quickstart', '--dry-run'], code: 0 },
  delete: { args: ['application', 'spare', '-z', 'quickstart', '--yes'], code: 0 },
  canary: { args: [], code: 0 },
  serve: { args: ['nobody'], code: 2 },
  up: { args: ['--port-offset', 'many'], code: 2 },
}

test('[P-156] the table below covers every command', () => {
  expect(Object.keys(RUNS).sort()).toEqual(leaves(program()).sort())
})

test('[P-156] every command with --json writes one JSON document of its own shape, on standard output when it succeeds and on standard error when it does not, and exits as promised', async () => {
  const shapes: Record<string, unknown> = {}
  for (const [command, { args, code }] of Object.entries(RUNS)) {
    const ran = await installation.caracal(['--json', ...command.split(' '), ...args], env)
    expect(ran.code, `${command}: ${ran.stderr}`).toBe(code)
    const failed = code === 1 || code === 2
    const document = (failed ? ran.stderr : ran.stdout).trim()
    expect(document.split('\n'), command).toHaveLength(1)
    if (failed) expect(ran.stdout, command).toBe('')
    const told = JSON.parse(document) as { error?: { exit_code: number } }
    if (failed) expect(told.error?.exit_code, command).toBe(code)
    shapes[`${command} (${code})`] = shape(told)
  }
  expect(shapes).toMatchSnapshot()
}, 120_000)

test('[P-156] what destroys shows with --dry-run what it would do, and does nothing in a script without --yes', async () => {
  const count = async () =>
    (JSON.parse((await installation.caracal(['--json', 'get', 'applications', '-z', 'quickstart'])).stdout) as unknown[]).length
  const before = await count()
  for (const command of [
    ['delete', 'application', 'demo-agent', '-z', 'quickstart'],
    ['revoke', 'application', 'demo-agent', '-z', 'quickstart'],
    ['revoke', '--filter', 'application=demo-agent', '-z', 'quickstart'],
  ]) {
    const refused = await installation.caracal(['--json', ...command], env)
    expect(refused.code).toBe(2)
    expect(JSON.parse(refused.stderr)).toMatchObject({ error: { fix: expect.stringContaining('--dry-run') } })
    const shown = await installation.caracal(['--json', ...command, '--dry-run'], env)
    expect(shown.code, shown.stderr).toBe(0)
    expect(JSON.parse(shown.stdout)).toMatchObject({ dryRun: true })
  }
  expect(await count()).toBe(before)
  expect(JSON.parse((await installation.caracal(['--json', 'get', 'revocations', '-z', 'quickstart'])).stdout)).not.toContainEqual(
    expect.objectContaining({ kind: 'application', reason: 'revoked by an operator' }),
  )
}, 60_000)

test.each([
  [['bogus'], 'commander.unknownCommand'],
  [['get', '--bogus', 'zones'], 'commander.unknownOption'],
  [['apply'], 'commander.missingMandatoryOptionValue'],
])('[P-156] wrong use is 2 and says so in JSON: %j', async (args, code) => {
  const ran = await caracal(['--json', ...args])
  expect(ran).toMatchObject({ code: 2, stdout: '' })
  expect(JSON.parse(ran.stderr)).toMatchObject({ error: { code, exit_code: 2 } })
})
