import { describe, expect, test } from 'vitest'
import { CHART, type HelmVersion, helm, template, valueArguments } from './helm.ts'
import { PROFILES } from './profiles.ts'

const VERSIONS: readonly HelmVersion[] = ['helm3', 'helm4']

describe.each(VERSIONS)('%s', (version) => {
  test('[0-19] lints the chart as it is', async () => {
    const { code, stdout } = await helm(['lint', CHART], version)
    expect(stdout).toContain('0 chart(s) failed')
    expect(code).toBe(0)
  })

  test.each(Object.entries(PROFILES))('[0-19] [3-03] lints %s strictly without a warning', async (_name, asked) => {
    const { args, input } = valueArguments(asked)
    const { code, stdout, stderr } = await helm(['lint', CHART, '--strict', '--namespace', 'caracal', ...args], version, input)
    expect(`${stdout}${stderr}`).not.toMatch(/\[(WARNING|ERROR)\]/)
    expect(code).toBe(0)
  })

  test('[0-14] bare values do not install: the refusal names the three overlays', async () => {
    const { code, stderr } = await template({ helm: version })
    expect(code).not.toBe(0)
    for (const overlay of ['values.production.yaml', 'values.rc.yaml', 'values.dev.yaml'])
      expect(stderr).toContain(`infra/helm/caracal/${overlay}`)
  })
})
