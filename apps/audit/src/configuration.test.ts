import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ConfigurationError } from '@caracal/service'
import { afterAll, expect, test } from 'vitest'
import { auditConfiguration } from './configuration.ts'

const key = () => randomBytes(32).toString('hex')
const environment = { STREAMS_HMAC_KEY: key(), AUDIT_HMAC_KEY: key(), ZONE_KEK: key(), ISSUER_URL: 'https://sts.acme.io' }
const folder = mkdtempSync(join(tmpdir(), 'caracal-anchor-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('a file is an anchor', () => {
  const anchors = `${pathToFileURL(join(folder, 'a.jsonl')).href}, ${pathToFileURL(join(folder, 'b.jsonl')).href}`
  expect(auditConfiguration.parse({ ...environment, AUDIT_ANCHORS: anchors }).AUDIT_ANCHORS).toHaveLength(2)
})

test.each([
  ['s3://bucket/anchors', /kind s3: that is not supported/],
  ['https://witness.example', /not supported/],
  ['/var/anchors', /must be URLs/],
  ['file://elsewhere/anchors', /not file:\/\/\/path/],
  ['file:///nowhere/at/all/anchors', /folder does not exist/],
])('[P-103] %s is refused at the start: a checkpoint that is anchored nowhere must not look anchored', (AUDIT_ANCHORS, rule) => {
  expect(() => auditConfiguration.parse({ ...environment, AUDIT_ANCHORS })).toThrow(ConfigurationError)
  expect(() => auditConfiguration.parse({ ...environment, AUDIT_ANCHORS })).toThrow(rule)
})
