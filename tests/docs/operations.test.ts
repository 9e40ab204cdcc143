import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { COMPONENTS, SERVICE_NAMES } from '@caracal/service'
import type { Command } from 'commander'
import { afterAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { program } from '../../apps/cli/src/main.ts'
import { SECRET_KEYS } from '../../packages/service/src/deploy-contract.ts'
import { markdownFiles, prose, ROOT } from './markdown-files.ts'
import { commandsOf } from './page-commands.ts'

const CHART = join(ROOT, 'infra/helm/caracal')
const MAIN = join(ROOT, 'apps/cli/src/main.ts')
const pages = markdownFiles(join(ROOT, 'docs/operations'))
const textOf = (name: string) => readFileSync(join(ROOT, 'docs/operations', name), 'utf8')
const values: unknown = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8'))

/** Commands with a word of their own where the page leaves one to the reader; pipes and lists in their parts. */
const steps = pages.flatMap(({ path, text }) => {
  let folder = '.'
  return commandsOf(text.replaceAll(/<([a-z-]+)>/g, 'my-$1')).flatMap(({ line, text: command }) => {
    if (command.startsWith('cd ')) folder = command.slice(3)
    const parts = command
      .replaceAll('\\\n', ' ')
      .replaceAll(/^\(umask 077; |\)$/g, '')
      .split(/ \| |; /)
    return parts.map((part) => ({ path, line, folder, words: part.trim().split(/\s+/), command }))
  })
})
const called = (name: string) =>
  steps.filter(({ words }) => words[0] === name || (name === 'caracal' && words.includes('caracal') && words.includes('npx')))

describe('docs/operations', () => {
  it('every file that a command names is in the repository', () => {
    const missing = steps.flatMap(({ path, line, folder, words }) =>
      words
        .filter((word) => /^(?:infra\/|external-secrets\/|values\.production)/.test(word))
        .filter((word) => !existsSync(join(ROOT, word.startsWith('external-secrets/') ? folder : '.', word)))
        .map((word) => `${path}:${line} ${word}`),
    )
    expect(missing).toEqual([])
  })

  it('every object that a command names is one of release caracal', () => {
    const workloads = SERVICE_NAMES.map((name) => `${COMPONENTS[name].spool ? 'statefulset' : 'deploy'}/caracal-${name}`)
    const known = new Set([...workloads, ...SERVICE_NAMES.map((name) => `svc/caracal-${name}`), 'job/caracal-migrate', 'pod/my-pod'])
    const unknown = called('kubectl').flatMap(({ path, line, words }) =>
      words
        .filter((word) => /^(?:deploy|statefulset|svc|job|pod)\//.test(word) && !known.has(word))
        .map((word) => `${path}:${line} ${word}`),
    )
    expect(unknown).toEqual([])
  })

  it('every command of caracal that is named exists, with the options that are given', () => {
    const wrong = called('caracal').flatMap(({ path, line, words }) => {
      const found = commandAt(program(), words.slice(words.indexOf('caracal') + 1))
      const known = new Set(['--json', ...found.options.flatMap(({ long, short }) => [long, short])])
      const options = words.slice(words.indexOf('caracal') + 1).filter((word) => /^--?[a-z]/.test(word))
      const bad = options.filter((word) => !known.has(word.split('=')[0] ?? ''))
      return found.commands.length === 0 && bad.length === 0 ? [] : [`${path}:${line} ${found.name()} ${bad.join(' ')}`]
    })
    expect(wrong).toEqual([])
  })

  it('every value that a page names is one of the chart', () => {
    const wrong = pages.flatMap(({ path, text }) =>
      [...prose(text).matchAll(/`((?:[a-z][A-Za-z]*\.)+(?:<name>\.)?[A-Za-z.]+)(?:=[^`]*)?`/g)]
        .map(([, value = '']) => value)
        .filter((value) => at(values, [value.split('.')[0] ?? '']) !== undefined && !/\.(?:yaml|md|dump)$/.test(value))
        .filter((value) => at(values, value.replace('<name>', 'api').split('.')) === undefined)
        .map((value) => `${path} ${value}`),
    )
    expect(wrong).toEqual([])
  })

  it('every metric that a page names is made by a service', () => {
    const sources = ['apps', 'packages'].flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
        .filter((file) => /^[^/]+\/src\/.*\.ts$/.test(file) && !file.endsWith('.test.ts'))
        .map((file) => readFileSync(join(ROOT, folder, file), 'utf8')),
    )
    const made = new Set(sources.flatMap((text) => [...text.matchAll(/'(caracal_[a-z_0-9]+)'/g)].map(([, name]) => name)))
    const named = pages.flatMap(({ text }) => [...text.matchAll(/`(caracal_[a-z_0-9]+)`/g)].map(([, name]) => name))
    expect([...new Set(named)].filter((name) => !made.has(name))).toEqual([])
  })

  it('every alert of the chart has its section, and no section is without an alert', () => {
    const rules = parse(readFileSync(join(CHART, 'files/alerts.yaml'), 'utf8')) as {
      groups: { rules: { alert: string; severity: string }[] }[]
    }
    const alerts = new Set(rules.groups.flatMap(({ rules: all }) => all.map(({ alert }) => alert)))
    const sections = [...textOf('alerts.md').matchAll(/^### (.+)\n\n`([A-Za-z]+)`/gm)].map(([, heading = '', alert = '']) => ({
      heading,
      alert,
    }))
    expect(sections.map(({ alert }) => alert).sort()).toEqual([...alerts].sort())
    for (const { heading, alert } of sections) expect(heading.toLowerCase().replaceAll(' ', '-'), alert).toBe(kebab(alert))
    expect(String(at(values, ['alertRules', 'runbookBaseUrl']))).toMatch(/\/docs\/operations\/alerts\.md$/)
  })

  it('the table of keys is that of the contract', () => {
    const rows = [...textOf('secrets.md').matchAll(/^\| `(\w+)`(?: \(optional\))? \| `([^`]+)` \| ([^|]+) \|/gm)]
    const written = rows.map(([, key, remote, users = '']) => ({ key, remote, users: users.trim().split(', ').sort() }))
    const contract = Object.entries(SECRET_KEYS).map(([key, { from }]) => ({
      key,
      remote: from[0]?.remote,
      users: Object.entries(COMPONENTS)
        .filter(([, { keys }]) => keys.some((one) => one.key === key && one.when !== 'postgres-streams'))
        .map(([name]) => name)
        .sort(),
    }))
    expect(written).toEqual(contract)
  })

  it('[3-13] changes of policy have a page of their own: gates, simulation, activation, going back, each with its command', () => {
    const page = textOf('policy-changes.md')
    const headings = [...page.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading)
    expect(headings).toEqual(expect.arrayContaining(['Gates', 'Simulate', 'Stage and activate', 'Go back']))
    const all = commandsOf(page).map(({ text }) => text)
    for (const wanted of [/ apply .*--plan$/, / apply .*--no-activate$/, /\/activation$/, /\/activate$/])
      expect(
        all.filter((text) => wanted.test(text)),
        String(wanted),
      ).not.toEqual([])
    // They run with those of the other pages.
    expect(readFileSync(join(ROOT, 'tests/docs/commands.test.ts'), 'utf8')).toContain("'docs/operations/policy-changes.md'")
  })

  it('every gate and stop condition of the check stands in the plan, and no other', () => {
    const folder = join(ROOT, 'apps/cli/src/rollout')
    const sources = readdirSync(folder).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    const text = sources.map((file) => readFileSync(join(folder, file), 'utf8')).join('\n')
    const ids = new Set([...text.matchAll(/'([GS]\d+)'/g)].map(([, id]) => id))
    const written = [...textOf('plan-a-rollout.md').matchAll(/^\| ([GS]\d+) /gm)].map(([, id]) => id)
    expect([...new Set(written)].sort()).toEqual([...ids].sort())
  })
})

describe('commands of docs/operations that need no cluster', () => {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-operations-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const run = (args: readonly string[]) =>
    spawnSync(process.execPath, [MAIN, ...args], { cwd: folder, encoding: 'utf8', env: { PATH: process.env.PATH, NO_COLOR: '1' } })

  it('make the Secret that they promise, whole and strong', () => {
    for (const name of ['my-file', 'my-folder']) writeFileSync(join(folder, name), 'a-password-that-exists-already\n', { mode: 0o600 })
    const data = Object.fromEntries(Object.keys(SECRET_KEYS).map((key) => [key, Buffer.from(`kept-${key}`).toString('base64')]))
    const kept = { ...data, databaseUrl: Buffer.from('postgres://caracal:x@db.internal/caracal').toString('base64') }
    writeFileSync(
      join(folder, 'runtime-secret.json'),
      JSON.stringify({ data: { ...kept, redisUrl: Buffer.from('rediss://:x@redis.internal:6379/0').toString('base64') } }),
      { mode: 0o600 },
    )
    const asked = called('caracal').filter(({ words }) => words.includes('secrets'))
    expect(asked.length).toBeGreaterThan(4)
    for (const { path, line, words } of asked) {
      const end = words.indexOf('>')
      const args = words.slice(words.indexOf('caracal') + 1, end < 0 ? undefined : end)
      const { status, stdout, stderr } = run(args)
      expect(status, `${path}:${line} ${stderr}`).toBe(0)
      const made = parse(stdout) as { kind?: string; stringData?: Record<string, string>; secrets?: { plaintext: Record<string, string> } }
      const secret = made.stringData ?? made.secrets?.plaintext ?? {}
      const required = Object.entries(SECRET_KEYS).filter(([key, one]) => one.required && !(key === 'redisUrl' && args.includes('dev')))
      expect(
        required.map(([key]) => key).filter((key) => !secret[key]),
        `${path}:${line}`,
      ).toEqual([])
      if (args.includes('--keep')) expect(secret.zoneKek).toBe('kept-zoneKek')
    }
  }, 120_000)

  it('refuse the way back of migrations', () => {
    const { status, stderr } = run(['db', 'migrate', 'down'])
    expect([status, stderr]).toEqual([2, expect.stringMatching(/forward/)])
  }, 60_000)
})

/** The command that words lead to; its arguments are left over. */
function commandAt(from: Command, words: readonly string[]): Command {
  const next = from.commands.find((command) => command.name() === words[0])
  if (words[0] === '--json') return commandAt(from, words.slice(1))
  return next === undefined ? from : commandAt(next, words.slice(1))
}

function at(value: unknown, path: readonly string[]): unknown {
  const [first, ...rest] = path
  if (first === undefined) return value
  return typeof value === 'object' && value !== null ? at((value as Record<string, unknown>)[first], rest) : undefined
}

function kebab(name: string): string {
  return name.replaceAll(/(?!^)([A-Z])/g, '-$1').toLowerCase()
}
