import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const linksOf = (text: string) => [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link ?? '')

/** What the platform's documents lead to, by the page that we have for it. */
const PAGES = {
  'deploy with Helm': 'deploy-with-helm.md',
  'the cloud profiles': 'choose-a-profile.md',
  'managed Kubernetes': 'managed-kubernetes.md',
  'a rollout': 'plan-a-rollout.md',
  'an upgrade': 'upgrade.md',
  hardening: 'hardening.md',
  'policy changes': 'policy-changes.md',
  'the compact deployment': 'compact.md',
}

test.each(Object.entries(PAGES))('[4-41] %s has a page, and the way to it is one link from the first', (_, page) => {
  expect(existsSync(join(root, 'docs/operations', page))).toBe(true)
  expect(linksOf(read('docs/operations/README.md')).map((link) => link.split('#')[0])).toContain(page)
  expect(linksOf(read('README.md')).some((link) => link.startsWith('docs/operations/'))).toBe(true)
})

test('[3-01] one page has every kind of change, and where to read on', () => {
  const page = read('docs/operations/plan-a-rollout.md')
  const rows = new Map([...page.matchAll(/^\| (\w+) \| (.+) \|$/gm)].map(([, change, what]) => [change, what ?? '']))
  for (const change of ['version', 'configuration', 'chart', 'secrets', 'Ingress', 'policy']) {
    expect([...rows.keys()]).toContain(change)
    for (const link of linksOf(rows.get(change) ?? ''))
      expect(existsSync(join(root, 'docs/operations', link.split('#')[0] ?? '')), link).toBe(true)
  }
})

test('[4-40] the document of the plain manifests ends with where help is', () => {
  const path = 'infra/kubernetes/README.md'
  const [, help = ''] = read(path).split('\n## Help\n')
  const links = linksOf(help)
  expect(help).not.toContain('\n## ')
  expect(links.filter((link) => link.startsWith('https://'))).toEqual(['https://github.com/caracal/caracal/issues'])
  for (const link of links.filter((one) => !one.startsWith('https://')))
    expect(existsSync(join(root, dirname(path), link)), link).toBe(true)
})
