import { apiConfiguration } from '@caracal/api'
import { auditConfiguration } from '@caracal/audit'
import { coordinatorConfiguration } from '@caracal/coordinator'
import { gatewayConfiguration } from '@caracal/gateway'
import { mcpConfiguration } from '@caracal/mcp-adapter'
import { stsConfiguration } from '@caracal/sts'
import { describe, expect, test } from 'vitest'
import { COMPONENTS, SERVICE_NAMES } from '../../packages/service/src/deploy-contract.ts'

const CONFIGURATIONS = {
  api: apiConfiguration,
  sts: stsConfiguration,
  gateway: gatewayConfiguration,
  audit: auditConfiguration,
  coordinator: coordinatorConfiguration,
  'mcp-adapter': mcpConfiguration,
} as const

describe('the deployment contract and the services agree', () => {
  test.each(SERVICE_NAMES)('%s takes every setting that the contract gives it, and its port is the default', (name) => {
    const described = new Map(CONFIGURATIONS[name].describe().map((row) => [row.name, row]))
    const given = [...COMPONENTS[name].settings, ...COMPONENTS[name].keys.map((one) => one.setting)]
    expect(given.filter((setting) => !described.has(setting))).toEqual([])
    expect(described.get('PORT')?.default).toBe(String(COMPONENTS[name].port))
  })

  test.each(SERVICE_NAMES)('%s is given every setting that it cannot start without', (name) => {
    const given = new Set([...COMPONENTS[name].settings, ...COMPONENTS[name].keys.map((one) => one.setting)])
    const demanded = CONFIGURATIONS[name].describe().filter((row) => row.required)
    expect(demanded.map((row) => row.name).filter((setting) => !given.has(setting))).toEqual([])
  })

  test.each(SERVICE_NAMES)('every secret of %s comes from a key, and no key is given as plain text', (name) => {
    const secret = new Set(CONFIGURATIONS[name].describe().flatMap((row) => (row.secret ? [row.name] : [])))
    expect(COMPONENTS[name].settings.filter((setting) => secret.has(setting))).toEqual([])
    expect(COMPONENTS[name].keys.map((one) => one.setting).filter((setting) => !secret.has(setting))).toEqual([])
  })
})
