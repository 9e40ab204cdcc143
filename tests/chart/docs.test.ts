import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { parse } from 'yaml'
import { fences, markdownFiles } from '../docs/markdown-files.ts'
import { commandsOf } from '../docs/page-commands.ts'
import { CHART, type HelmVersion, helm, ROOT, render, renderedText } from './helm.ts'
import { CLOUDS, PLAINTEXT, PRODUCTION, STORE_HOSTS } from './profiles.ts'
import { textAt } from './tree.ts'

const pages = markdownFiles(join(ROOT, 'docs/operations'))

/** What a page leaves to the reader. */
const CHOICES: Readonly<Record<string, string>> = {
  'managed-postgres-host': STORE_HOSTS['secrets.database.host'],
  'managed-redis-host': STORE_HOSTS['secrets.redis.host'],
}

/** Commands of Helm that need no cluster; an installation or a difference is rendered in its place. */
const commands = pages.flatMap(({ path, text }) =>
  commandsOf(text.replaceAll(/<([a-z-]+)>/g, (_all, name: string) => CHOICES[name] ?? `my-${name}`))
    .filter(({ text: command }) => /^helm .*infra\/helm\/caracal/s.test(command))
    .map(({ line, text: command }) => ({
      title: `${path}:${line}`,
      command: command
        .replace(/^helm (?:-n caracal )?(?:upgrade(?: --install)?|diff upgrade) caracal/, 'helm template caracal')
        .replace('--create-namespace', ''),
    })),
)

describe.each<HelmVersion>(['helm3', 'helm4'])('%s', (version) => {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-docs-'))
  const bin = join(folder, 'bin')
  beforeAll(() => {
    mkdirSync(bin)
    symlinkSync(inject(version), join(bin, 'helm'))
    writeFileSync(join(folder, 'eval-secrets.yaml'), JSON.stringify({ secrets: { plaintext: PLAINTEXT } }))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test.each(commands)('$title lints or renders as it is written', ({ command }) => {
    const here = command.replaceAll('/tmp/', `${folder}/`).replaceAll(' eval-secrets.yaml', ` ${folder}/eval-secrets.yaml`)
    const { status, stderr } = spawnSync('bash', ['-c', here], {
      cwd: ROOT,
      encoding: 'utf8',
      env: { ...process.env, PATH: `${bin}:${process.env.PATH}`, KUBECONFIG: '/dev/null' },
      maxBuffer: 1 << 28,
    })
    expect(status, `${here}\n${stderr}`).toBe(0)
  })
})

test('there are commands of Helm on the pages of installation, managed clusters, profiles and rollouts', () => {
  for (const name of ['deploy-with-helm', 'managed-kubernetes', 'choose-a-profile', 'plan-a-rollout'])
    expect(
      commands.map(({ title }) => title).some((title) => title.startsWith(`docs/operations/${name}.md`)),
      name,
    ).toBe(true)
})

test('[1-11] the network values that the page shows are the defaults: as a file they change nothing', async () => {
  const shown = pages
    .flatMap(({ path, text }) => (path.endsWith('/choose-a-profile.md') ? fences(text) : []))
    .filter(({ language }) => language === 'yaml')
  expect(shown).toHaveLength(1)
  const values = parse(shown[0]?.text ?? '') as Record<string, Record<string, unknown>>
  const defaults = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')) as Record<string, Record<string, unknown>>
  expect(defaults.networkPolicy).toMatchObject(values.networkPolicy ?? {})
  expect(Object.keys(values.networkPolicy ?? {})).toEqual([
    'enabled',
    'allowOpenDns',
    'allowOpenHttps',
    'dnsEgress',
    'extraEgress',
    'extraIngress',
  ])
  expect(await renderedText({ ...PRODUCTION, values })).toBe(await renderedText(PRODUCTION))
})

test.each(CLOUDS)('[2-15] the column of %s in the table of clouds is what its files render', async (cloud) => {
  const page = readFileSync(join(ROOT, 'docs/operations/managed-kubernetes.md'), 'utf8')
  const column = CLOUDS.indexOf(cloud) + 1
  const cell = (row: string) =>
    page
      .split('\n')
      .find((line) => line.startsWith(`| ${row}`))
      ?.split('|')
      [column + 1]?.trim() ?? ''
  expect(cell('file')).toBe(`\`values.${cloud}.yaml\``)
  const store = { eks: 'aws', gke: 'gcp', aks: 'azure' }[cloud]
  expect(cell('secret store')).toContain(`secretstore-${store}.yaml`)
  const account = readFileSync(join(CHART, `examples/external-secrets/secretstore-${store}.yaml`), 'utf8')
  expect(account).toMatch({ eks: /eks\.amazonaws\.com\/role-arn/, gke: /workloadIdentity/, aks: /WorkloadIdentity/ }[cloud])
  const found = await render({ files: ['examples/values.cloud-managed.yaml', `examples/values.${cloud}.yaml`], set: STORE_HOSTS })
  for (const name of ['caracal-sts', 'caracal-gateway'])
    expect(cell('`replayPersistence')).toBe(
      `\`${textAt(found.one('StatefulSet', name), 'spec.volumeClaimTemplates.0.spec.storageClassName')}\``,
    )
  for (const name of ['caracal-api', 'caracal-gateway']) {
    const ingress = found.one('Ingress', name)
    const annotations = (ingress.metadata as { annotations?: Record<string, string> }).annotations ?? {}
    const className = textAt(ingress, 'spec.ingressClassName') || annotations['kubernetes.io/ingress.class']
    expect(cell('`ingress.gateway.className`')).toBe(`\`${className}\``)
    const atController = (ingress.spec as { tls?: unknown }).tls === undefined
    expect(cell('certificate').includes('tlsAtController')).toBe(atController)
  }
})

test('[2-24] whoever exposes something is led to the page on hardening, and nobody else', async () => {
  expect(pages.map(({ path }) => path)).toContain('docs/operations/hardening.md')
  const notes = async (file: string) => {
    const sets = Object.entries(STORE_HOSTS).flatMap(([key, value]) => ['--set', `${key}=${value}`])
    const { code, stdout, stderr } = await helm(['install', 'caracal', CHART, '--dry-run=client', '--values', join(CHART, file), ...sets])
    expect(code, stderr).toBe(0)
    return stdout.slice(stdout.indexOf('NOTES:'))
  }
  expect(await notes('examples/values.cloud-managed.yaml')).toContain('docs/operations/hardening.md')
  expect(await notes('examples/values.private-cluster.yaml')).toContain('docs/operations/hardening.md')
  expect(await notes('values.production.yaml')).not.toContain('hardening.md')
})
