import { decodeBase64 } from './base64.ts'
import type { FindingKind, FindingPlace } from './bundle-finding.ts'
import { decodeProof, type EventLine, type ManifestLine } from './bundle-line.ts'
import type { Checkpoint } from './checkpoint.ts'
import { MAX_ENTRY_BYTES } from './entry-bundle.ts'
import { EventOrder } from './event-order.ts'
import { leafHash, sameHash } from './hash.ts'
import { verifyInclusion } from './proof.ts'
import type { RangeRoot } from './range-root.ts'

export type Report = (kind: FindingKind, place: FindingPlace, detail: string) => void

/** Checks the events of a bundle one by one: text, place, identity, and for single events the proof. */
export class EventSection {
  readonly #manifest: ManifestLine
  readonly #checkpoint: Checkpoint | undefined
  readonly #report: Report
  readonly #order: EventOrder<Uint8Array>
  readonly #position: (index: number) => number
  readonly #indexAt: (position: number) => number
  readonly #zone: string | undefined
  readonly #ids = new Map<string, number>()

  /** `range` takes the leaves in order when the selection is a range. */
  constructor(manifest: ManifestLine, checkpoint: Checkpoint | undefined, range: RangeRoot | undefined, report: Report) {
    this.#manifest = manifest
    this.#checkpoint = checkpoint
    this.#report = report
    this.#zone = /\/zones\/([^/]+)$/.exec(manifest.origin)?.[1]
    const { selection } = manifest
    if (selection.kind === 'range') {
      this.#position = (index) => index - selection.from
      this.#indexAt = (position) => selection.from + position
      this.#order = new EventOrder(selection.to - selection.from, (leaf) => range?.push(leaf))
    } else {
      const positions = new Map(selection.indexes.map((index, position) => [index, position]))
      this.#position = (index) => positions.get(index) ?? -1
      this.#indexAt = (position) => selection.indexes[position] ?? 0
      this.#order = new EventOrder(selection.indexes.length, () => {})
    }
  }

  accept(line: number, entry: EventLine): void {
    const place = { line, index: entry.index }
    const bytes = Buffer.from(entry.event)
    const leaf = leafHash(bytes)
    const claimed = decodeBase64(entry.leaf)
    if (claimed === undefined || !sameHash(leaf, claimed)) this.#report('changed_event', place, 'the text was changed, or its leaf hash')
    if (bytes.length > MAX_ENTRY_BYTES) this.#report('malformed', place, 'the event is longer than an event can be')
    const standing = this.#order.accept(this.#position(entry.index), leaf)
    if (standing === 'late') this.#report('reordered_events', place, 'an event with a higher index came before')
    if (standing === 'duplicate') this.#report('duplicate_event', place, 'the index came before')
    if (standing === 'foreign') this.#report('unexpected_event', place, 'the selection does not name the index')
    if (standing !== 'duplicate') this.#checkIdentity(place, entry)
    this.#checkProof(place, entry, leaf)
  }

  /** Says what never came. True when everything did. */
  finish(): boolean {
    const absent = this.#order.absent()
    const { selection, count } = this.#manifest
    const selected = selection.kind === 'range' ? selection.to - selection.from : selection.indexes.length
    for (const run of absent) {
      const place = { index: this.#indexAt(run.from), to: this.#indexAt(run.to - 1) + 1 }
      const many = `${run.to - run.from} missing`
      if (count !== selected) this.#report('sequence_gap', place, `${many}, the manifest counts ${count} where ${selected} are selected`)
      else this.#report(run.to === selected ? 'removed_tail' : 'missing_event', place, many)
    }
    if (absent.length === 0 && count !== selected)
      this.#report('sequence_gap', { line: 1 }, `the manifest counts ${count} where ${selected} are selected`)
    return absent.length === 0
  }

  #checkProof(place: FindingPlace, entry: EventLine, leaf: Uint8Array): void {
    const single = this.#manifest.selection.kind === 'events'
    if (!single) {
      if (entry.proof !== undefined) this.#report('malformed', place, 'an event of a range has no proof of its own')
      return
    }
    if (this.#checkpoint === undefined) return
    const { size, root } = this.#checkpoint
    const holds = entry.proof !== undefined && verifyInclusion({ leaf, index: entry.index, size, proof: decodeProof(entry.proof), root })
    if (!holds) this.#report('bad_proof', place, 'the inclusion proof does not lead to the signed root')
  }

  #checkIdentity(place: FindingPlace, { index, event }: EventLine): void {
    const { id, zone } = identityOf(event)
    if (id === undefined) {
      this.#report('malformed', place, 'the text is not an event')
      return
    }
    const before = this.#ids.get(id)
    if (before !== undefined) this.#report('duplicate_event', place, `${id} stands at index ${before} too`)
    this.#ids.set(id, index)
    if (this.#zone !== undefined && zone !== this.#zone) this.#report('unexpected_event', place, `it is of another zone than the log`)
  }
}

function identityOf(event: string): { id?: string; zone?: string } {
  try {
    const value: unknown = JSON.parse(event)
    if (typeof value !== 'object' || value === null || !('id' in value) || typeof value.id !== 'string') return {}
    return { id: value.id, ...('zone' in value && typeof value.zone === 'string' ? { zone: value.zone } : {}) }
  } catch {
    return {}
  }
}
