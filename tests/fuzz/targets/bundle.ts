import { canonicalJson } from '@caracal/core'
import { verifyBundle } from '@caracal/ledger'
import fc from 'fast-check'
import { bundle, events, log, part, several, signed, single, whole } from '../../../packages/ledger/src/sample-bundle.ts'
import { altered, fieldsOf, isEvent, type Line, linesOf, sealed } from '../../interop/bundle-tampering.ts'
import { mutated } from '../mutate.ts'
import { target } from '../target.ts'

const originals = await Promise.all([
  bundle(whole),
  bundle(part, { earlier: [signed(20)] }),
  bundle(single),
  bundle(several, { attachments: [{ name: 'a', text: 'b' }] }),
])

/** Written by somebody who knows the format: lines dropped, doubled, moved, mixed from several bundles, fields changed, sealed again. */
const rewritten = fc
  .tuple(
    fc.constantFrom(...originals),
    fc.array(fc.tuple(fc.constantFrom('drop', 'double', 'move', 'field', 'borrow'), fc.nat(), fc.nat()), { minLength: 1, maxLength: 3 }),
  )
  .map(([text, edits]) => Buffer.from(sealed(edits.reduce(rewrite, linesOf(text)))))

function rewrite(lines: readonly Line[], [kind, place, other]: readonly [string, number, number]): Line[] {
  const at = place % lines.length
  const line = lines[at] ?? { kind: 'end' }
  const without = lines.toSpliced(at, 1)
  if (kind === 'drop') return without
  if (kind === 'double') return lines.toSpliced(at, 0, line)
  if (kind === 'move') return without.toSpliced(other % lines.length, 0, line)
  if (kind === 'borrow') {
    const lender = linesOf(originals[other % originals.length] ?? '')
    return lines.toSpliced(at, 0, lender[place % lender.length] ?? line)
  }
  const fields = fieldsOf(line)
  const field = fields[other % fields.length]
  return field === undefined ? [...lines] : lines.with(at, field.replaced(altered(field.value)) as Line)
}

export const evidenceBundle = target(
  {
    name: 'bundle',
    guarantee: '[P-109] whatever a bundle is made into, the events of one that verifies are those of the log, each at its place',
    runs: 1500,
  },
  fc.oneof(rewritten, mutated(originals)),
  async (bytes) => {
    const report = await verifyBundle(bytes, { keys: [{ verifier: log }] })
    if (!report.ok) {
      if (report.findingCount === 0 || report.findings.length === 0) throw new Error('refused without a finding')
      return
    }
    const shown = linesOf(bytes.toString()).filter(isEvent)
    for (const { index, event } of shown) if (events[index] !== event) throw new Error(`${index} is not ${event}`)
    if (report.events !== shown.length || canonicalJson(report.selection) === undefined) throw new Error('counted wrongly')
  },
)
