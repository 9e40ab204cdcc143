import { STREAMS } from '@caracal/core'
import { expect, test } from 'vitest'

test.each(Object.entries(STREAMS))('[P-111] %s is declared once, with its kind, who writes it and who reads it', (name, stream) => {
  expect(name).toMatch(/^caracal\.[a-z.]+$/)
  expect(['broadcast', 'work']).toContain(stream.kind)
  expect(stream.producers.length).toBeGreaterThan(0)
  expect(stream.consumers.length).toBeGreaterThan(0)
})
