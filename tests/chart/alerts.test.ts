import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { ALERTS } from './alert-series.ts'
import { render, run } from './helm.ts'
import { PRODUCTION, WITH_MCP_ADAPTER } from './profiles.ts'
import { at, listAt, textAt } from './tree.ts'

let folder = ''
let rules: readonly unknown[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'caracal-alerts-'))
  const rule = (await render(WITH_MCP_ADAPTER)).one('PrometheusRule', 'caracal')
  rules = listAt(rule, 'spec.groups').flatMap((group) => listAt(group, 'rules'))
  await writeFile(join(folder, 'rules.yaml'), stringify({ groups: at(rule, 'spec.groups') }))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

test('[0-09] the rules of production pass promtool', async () => {
  const { code, stdout, stderr } = await run('promtool', ['check', 'rules', '--lint=all', '--lint-fatal', join(folder, 'rules.yaml')])
  expect(`${stdout}${stderr}`).toContain('SUCCESS')
  expect(code).toBe(0)
})

test('[0-09] every alert has a case that fires and one that is quiet', () => {
  const spelled = (name: string, severity: string) => `${name} (${severity})`
  expect(rules.map((rule) => spelled(textAt(rule, 'alert'), textAt(rule, 'labels.severity'))).toSorted()).toEqual(
    ALERTS.map(({ name, severity }) => spelled(name, severity)).toSorted(),
  )
})

test('without the MCP Adapter nobody waits for it', async () => {
  const rule = (await render(PRODUCTION)).one('PrometheusRule', 'caracal')
  expect(JSON.stringify(rule)).not.toMatch(/mcp/i)
})

test('every rule looks at its own namespace, and says where its runbook is', () => {
  for (const rule of rules) {
    const name = textAt(rule, 'alert')
    const anchor = name.replaceAll(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase()
    expect(textAt(rule, 'annotations.runbook_url')).toMatch(new RegExp(`#${anchor}$`))
    const metrics = textAt(rule, 'expr').match(/\b(?:up|[a-z]+(?:_[a-z0-9]+)+)\{/g) ?? []
    const inNamespace = textAt(rule, 'expr').match(/\{namespace="caracal"/g) ?? []
    expect([name, inNamespace.length]).toEqual([name, metrics.length])
    expect(metrics.length).toBeGreaterThan(0)
    expect(textAt(rule, 'expr')).not.toContain('%')
  }
})

const MINUTES = 100

describe('played minute by minute', () => {
  test.each(ALERTS)('[0-09] $name ($severity) fires on its fault and is quiet without', async ({ name, severity, fires, quiet }) => {
    const expr = `count(ALERTS{alertname="${name}",severity="${severity}",alertstate="firing"}) > 0`
    const play = (title: string, series: Readonly<Record<string, string>>, expected: boolean) => ({
      name: title,
      interval: '1m',
      input_series: Object.entries(series).map(([of, values]) => ({ series: of, values })),
      promql_expr_test: [{ expr: `(${expr}) * 0 + 1`, eval_time: `${MINUTES - 5}m`, exp_samples: expected ? [{ value: 1 }] : [] }],
    })
    const path = join(folder, `${name}-${severity}.test.yaml`)
    await writeFile(
      path,
      stringify({
        rule_files: [join(folder, 'rules.yaml')],
        evaluation_interval: '1m',
        tests: [play('fires', fires, true), play('quiet', quiet, false)],
      }),
    )
    const { code, stdout, stderr } = await run('promtool', ['test', 'rules', path])
    expect([code, `${stdout}${stderr}`]).toEqual([0, expect.stringContaining('SUCCESS')])
  })
})
