import { describe, expect, it } from 'vitest'
import { COMPONENT_NAMES, COMPONENTS, callersOf, PUBLIC_PATHS, SECRET_KEYS, SERVICE_NAMES, type SecretKey } from './deploy-contract.ts'

const holders = (key: SecretKey) => COMPONENT_NAMES.filter((name) => COMPONENTS[name].keys.some((one) => one.key === key))

describe('the deployment contract', () => {
  it('gives every key of the runtime Secret to somebody, and nobody one key twice', () => {
    expect(Object.keys(SECRET_KEYS).filter((key) => holders(key as SecretKey).length === 0)).toEqual([])
    for (const name of COMPONENT_NAMES) {
      const settings = COMPONENTS[name].keys.map((one) => one.setting)
      expect(new Set(settings).size, name).toBe(settings.length)
    }
  })

  it('keeps the key that seals away from everybody but STS and Audit, and the operator’s tokens with who takes them', () => {
    expect(holders('zoneKek')).toEqual(['sts', 'audit'])
    expect(holders('adminToken')).toEqual(['api', 'canary'])
    expect(holders('coordinatorToken')).toEqual(['coordinator'])
    expect(holders('postgresPassword')).toEqual(['migrate', 'schema-check'])
  })

  it.each(['gateway', 'mcp-adapter'] as const)(
    'gives %s no way to Postgres, and its login only where Postgres carries the streams',
    (name) => {
      expect(COMPONENTS[name].stores).toEqual(['redis'])
      expect(COMPONENTS[name].keys.find((one) => one.key === 'databaseUrl')?.when).toBe('postgres-streams')
    },
  )

  it('lets nobody be called who does not listen, and knows each call from both ends', () => {
    for (const caller of COMPONENT_NAMES) {
      for (const callee of COMPONENTS[caller].calls) {
        expect(COMPONENTS[callee].port, `${caller} → ${callee}`).toBeTypeOf('number')
        expect(callersOf(callee)).toContain(caller)
      }
    }
  })

  it('[0-17] has the ports 3000, 8080, 8081, 9090 and 4000', () => {
    expect(Object.fromEntries(SERVICE_NAMES.map((name) => [name, COMPONENTS[name].port]))).toEqual({
      api: 3000,
      sts: 8080,
      gateway: 8081,
      audit: 9090,
      coordinator: 4000,
      'mcp-adapter': 8080,
    })
  })

  it('lets no internal or administrative path out', () => {
    for (const path of [...PUBLIC_PATHS.api, ...PUBLIC_PATHS.sts, ...PUBLIC_PATHS['mcp-adapter']])
      expect(path).not.toMatch(/^\/(?:internal|admin|metrics|)$|^\/internal|^\/admin/)
  })
})
