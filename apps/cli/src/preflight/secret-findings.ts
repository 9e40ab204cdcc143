import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { keyWeakness } from '@caracal/core'
import { placeholder } from '@caracal/service'
import { type Finding, fails, holds } from './finding.ts'

type Kind = 'key' | 'token' | 'url'
type Expected = { readonly kind: Kind; readonly required: boolean }

const LEAST_TOKEN = 20
const MAKE = 'Make the Secret with `caracal secrets generate`, or the key with `openssl rand -hex 32`.'

/** Every key that the runtime Secret may have. */
const KEYS: Readonly<Record<string, Expected>> = {
  databaseUrl: { kind: 'url', required: true },
  redisUrl: { kind: 'url', required: true },
  zoneKek: { kind: 'key', required: true },
  auditHmacKey: { kind: 'key', required: true },
  streamsHmacKey: { kind: 'key', required: true },
  gatewayStsHmacKey: { kind: 'key', required: true },
  adminToken: { kind: 'token', required: true },
  coordinatorToken: { kind: 'token', required: true },
  stsAdminToken: { kind: 'token', required: false },
  auditAdminToken: { kind: 'token', required: false },
  metricsBearer: { kind: 'token', required: false },
}

/** Whether the folder of the mounted Secret has every required key, and no weak one. Values are never told. */
export function secretFindings(folder: string, streamsDriver: string): Finding[] {
  const texts = new Map<string, string>()
  const found = Object.entries(KEYS).flatMap(([key, expected]): Finding[] => {
    const required = expected.required && !(key === 'redisUrl' && streamsDriver === 'postgres')
    const text = textOf(join(folder, key))
    if (text === undefined || text === '')
      return required ? [fails(`secret_${key}`, 'secret_key_missing', `${key} is ${text === '' ? 'empty' : 'missing'}`, MAKE, { key })] : []
    texts.set(key, text)
    const weakness = weaknessOf(expected.kind, text.split('\n')[0] ?? '')
    return [
      weakness === undefined
        ? holds(`secret_${key}`, 'strong enough', { key })
        : fails(`secret_${key}`, 'secret_weak', `${key} ${weakness}`, MAKE, { key }),
    ]
  })
  return [...found, ...repeated(texts)]
}

/** One value for two purposes: whoever has the one has the other. */
function repeated(texts: ReadonlyMap<string, string>): Finding[] {
  const first = new Map<string, string>()
  return [...texts].flatMap(([key, text]): Finding[] => {
    const before = first.get(text)
    first.set(text, before ?? key)
    return before === undefined ? [] : [fails(`secret_${key}`, 'secret_weak', `${key} has the same value as ${before}`, MAKE, { key })]
  })
}

function weaknessOf(kind: Kind, text: string): string | undefined {
  if (kind === 'url') return URL.canParse(text) ? undefined : 'is not a URL'
  if (kind === 'key') {
    if (!/^[0-9a-fA-F]{64}$/.test(text)) return 'is not 64 hex digits (32 bytes)'
    return keyWeakness(Buffer.from(text, 'hex')) ?? undefined
  }
  if (placeholder(text)) return 'is a placeholder'
  return text.length < LEAST_TOKEN ? `has fewer than ${LEAST_TOKEN} characters` : undefined
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return undefined
  }
}
