import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bundle, check, kinds, linesOf, part, sealed, several, signed, single } from './sample-bundle.ts'

describe('broken files', () => {
  it('[P-109] a file cut at any byte is found', async () => {
    const text = Buffer.from(await bundle(single))
    for (let end = 0; end < text.length; end += 1) {
      const report = await check(text.subarray(0, end))
      expect(report.findings.map(({ kind }) => kind)).toContain('truncated_file')
    }
  })

  it('[P-101] [P-109] no changed, added or removed byte of any bundle verifies', async () => {
    const bundles = await Promise.all([
      bundle(single),
      bundle({ kind: 'range', from: 3, to: 9 }),
      bundle(several, { earlier: [signed(20)], attachments: [{ name: 'a', text: 'b' }] }),
    ])
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...bundles),
        fc.nat(),
        fc.nat(255),
        fc.constantFrom('set', 'insert', 'drop', 'double', 'swap'),
        async (text, place, byte, kind) => {
          const good = Buffer.from(text)
          const at = place % good.length
          const one = Buffer.from([byte])
          const changed = {
            set: Buffer.concat([good.subarray(0, at), one, good.subarray(at + 1)]),
            insert: Buffer.concat([good.subarray(0, at), one, good.subarray(at)]),
            drop: Buffer.concat([good.subarray(0, at), good.subarray(at + 1)]),
            double: Buffer.concat([good.subarray(0, at), good.subarray(at, at + 40), good.subarray(at)]),
            swap: Buffer.concat([good.subarray(0, at), good.subarray(at, at + 2).toReversed(), good.subarray(at + 2)]),
          }[kind]
          fc.pre(!good.equals(changed))
          expect((await check(changed)).ok).toBe(false)
        },
      ),
      { numRuns: 1500 },
    )
  })

  it('[P-101] no bundle whose members an attacker changed and sealed again verifies, except with lines that claim nothing', async () => {
    const lines = linesOf(await bundle(part, { earlier: [signed(20)] }))
    const spots = lines.flatMap((line, at) => (line.kind === 'end' ? [] : [at]))
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...spots), fc.constantFrom('drop', 'double', 'move'), fc.nat(), async (at, kind, target) => {
        const line = lines[at]
        const claimsNothing = line === undefined || line.kind === 'key' || line.kind === 'earlier'
        fc.pre(!claimsNothing)
        const without = lines.toSpliced(at, 1)
        const to = target % (lines.length - 1)
        fc.pre(kind !== 'move' || to !== at)
        const changed = { drop: without, double: lines.toSpliced(at, 0, line), move: without.toSpliced(to, 0, line) }[kind]
        expect((await check(sealed(changed))).ok).toBe(false)
      }),
      { numRuns: 300 },
    )
  })

  it('a changed byte is found even where no proof covers it', async () => {
    const text = await bundle(single, { attachments: [{ name: 'policy.yaml', text: 'x' }] })
    expect(await kinds(text.replace('policy.yaml', 'policy.yamm'))).toEqual(['changed_bytes'])
  })

  it.each([
    ['nothing', ''],
    ['one newline', '\n'],
    ['no JSON', 'hello\n'],
    ['another format', '{"format":"x","kind":"manifest"}\n'],
    ['a byte that is not UTF-8', new Uint8Array([0xff, 0x0a])],
  ])('a file of %s is refused with findings, not with an exception', async (_, content) => {
    const report = await check(content)
    expect(report.ok).toBe(false)
    expect(report.findings.map(({ kind }) => kind)).toContain('malformed')
  })

  it.each([
    ['a byte order mark', (text: string) => `\ufeff${text}`],
    ['carriage returns', (text: string) => text.replaceAll('\n', '\r\n')],
    ['a blank line at the end', (text: string) => `${text}\n`],
    ['spaces in the JSON', (text: string) => text.replace('{"', '{ "')],
    ['an escaped letter', (text: string) => text.replace('"kind"', '"k\\u0069nd"')],
    ['a member twice', (text: string) => text.replace('"kind":"manifest"', '"kind":"manifest","kind":"manifest"')],
    ['an unknown member', (text: string) => text.replace('"kind":"manifest"', '"kind":"manifest","later":1')],
  ])('%s is no other spelling of the same bundle', async (_, change) => {
    expect(await kinds(change(await bundle(single)))).toContain('malformed')
  })
})
