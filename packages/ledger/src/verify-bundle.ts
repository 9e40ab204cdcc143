import { encodeBase64 } from './base64.ts'
import { type Finding, type FindingKind, type FindingPlace, NEVER_PROVEN } from './bundle-finding.ts'
import {
  type BundleLine,
  type CheckpointLine,
  decodeProof,
  type EarlierLine,
  LINE_ORDER,
  type ManifestLine,
  parseBundleLine,
  type RangeLine,
  type Selection,
} from './bundle-line.ts'
import { type Checkpoint, openCheckpoint, type TrustedKey } from './checkpoint.ts'
import { EventSection } from './event-section.ts'
import { sameHash, sha256 } from './hash.ts'
import { parseVerifierKey } from './note-key.ts'
import { verifyConsistency } from './proof.ts'
import { RangeRoot } from './range-root.ts'
import { type FileLine, readLines } from './read-lines.ts'

/** Findings past this many are counted, not kept. */
const MAX_FINDINGS = 1_000

export type BundleTrust = {
  /** The log's public keys, got on another way than the bundle. At least one. */
  readonly keys: readonly TrustedKey[]
  /** The log; when absent, the one name that all the keys have. */
  readonly origin?: string
  /** The last checkpoint the reader saw of this log. */
  readonly seen?: Checkpoint
  /** Whether anything less than the whole log up to the checkpoint is a finding. */
  readonly whole?: boolean
}

export type BundleReport = {
  /** True only without findings: the events are exactly what the log holds at these indexes. */
  readonly ok: boolean
  readonly origin: string
  /** What the bundle claims to hold; proven when `ok`. */
  readonly selection?: Selection
  readonly events: number
  /** The checkpoint proved against, when its signature holds, and who signed it (`name+id`). */
  readonly checkpoint?: Checkpoint
  readonly signedBy: readonly string[]
  readonly findings: readonly Finding[]
  /** All findings, also those past the first thousand. */
  readonly findingCount: number
  /** What this verification does not show, even without findings. */
  readonly notProven: readonly string[]
}

/**
 * Verifies an evidence bundle offline: exact bytes in, everything recomputed, each thing wrong reported with its place.
 * Needs nothing but the bytes and the public key. Reads as a stream; memory grows by the ids of the events only.
 * Data never makes it throw; a rejecting stream does, and a call without keys or with keys of several logs and no origin.
 */
export async function verifyBundle(
  bytes: Uint8Array | AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  trust: BundleTrust,
): Promise<BundleReport> {
  const verification = new Verification(trust)
  for await (const line of readLines(bytes instanceof Uint8Array ? [bytes] : bytes)) verification.line(line)
  return verification.finish()
}

class Verification {
  readonly #trust: BundleTrust
  readonly #origin: string
  readonly #findings: Finding[] = []
  #findingCount = 0
  #rank = 0
  #ended = false
  #sawEnd = false
  #events = 0
  #manifest: ManifestLine | undefined
  #opened: { checkpoint: Checkpoint; signedBy: string[] } | undefined
  #checkpointLine = 0
  #attachments = 0
  readonly #earlier: { line: number; checkpoint: Checkpoint }[] = []
  #rangeLine: RangeLine | undefined
  #range: RangeRoot | undefined
  #section: EventSection | undefined

  constructor(trust: BundleTrust) {
    const [name, ...others] = new Set(trust.keys.map(({ verifier }) => verifier.name))
    const origin = trust.origin ?? (others.length === 0 ? name : undefined)
    if (name === undefined || origin === undefined) throw new TypeError('a verification needs the keys of one log')
    this.#trust = trust
    this.#origin = origin
  }

  line(file: FileLine) {
    const place = { line: file.number }
    if (!file.closed) return this.#report('truncated_file', place, 'the last line is cut')
    const line = file.text === undefined ? undefined : parseBundleLine(file.text)
    if (line === undefined) return this.#report('malformed', place, 'the line is not one of the format')
    this.#sawEnd ||= line.kind === 'end'
    const rank = LINE_ORDER.indexOf(line.kind)
    const single = line.kind === 'manifest' || line.kind === 'checkpoint' || line.kind === 'range' || line.kind === 'end'
    const misplaced = this.#ended || rank < this.#rank || (single && rank === this.#rank && file.number > 1)
    if (misplaced) return this.#report('malformed', place, `a line of kind ${line.kind} must not stand here`)
    if (this.#manifest === undefined && line.kind !== 'manifest')
      return this.#report('malformed', place, 'the manifest does not come first')
    this.#rank = rank
    this.#take(line, file)
  }

  finish(): BundleReport {
    const manifest = this.#manifest
    if (!this.#sawEnd) this.#report('truncated_file', {}, 'there is no end line')
    if (manifest === undefined) this.#report('malformed', { line: 1 }, 'there is no manifest')
    else if (this.#checkpointLine === 0) this.#report('malformed', {}, 'there is no checkpoint')
    if (manifest !== undefined) this.#checkEvents(manifest)
    this.#checkSeen()
    return {
      ok: this.#findingCount === 0,
      origin: this.#origin,
      events: this.#events,
      ...(manifest === undefined ? {} : { selection: manifest.selection }),
      ...(this.#opened === undefined ? {} : { checkpoint: this.#opened.checkpoint }),
      signedBy: this.#opened?.signedBy ?? [],
      findings: this.#findings,
      findingCount: this.#findingCount,
      notProven: this.#notProven(),
    }
  }

  #take(line: BundleLine, file: FileLine) {
    const place = { line: file.number }
    switch (line.kind) {
      case 'manifest':
        return this.#takeManifest(line)
      case 'key':
        if (parseVerifierKey(line.vkey) === undefined) this.#report('malformed', place, 'it is not a verifier key')
        return
      case 'checkpoint':
        return this.#takeCheckpoint(line, file.number)
      case 'earlier':
        return this.#takeEarlier(line, file.number)
      case 'attachment': {
        this.#attachments += 1
        const digest = Buffer.from(sha256(Buffer.from(line.text))).toString('hex')
        if (digest !== line.sha256) this.#report('changed_attachment', place, line.name)
        return
      }
      case 'range':
        this.#rangeLine = line
        return
      case 'event':
        this.#events += 1
        return this.#eventSection()?.accept(file.number, line)
      case 'end':
        this.#ended = true
        if (line.lines !== file.number - 1 || line.sha256 !== file.digest()) {
          this.#report('changed_bytes', place, 'the bytes before it are not those it was made for')
        }
    }
  }

  #takeManifest(manifest: ManifestLine) {
    this.#manifest = manifest
    const place = { line: 1 }
    const { selection, checkpoint } = manifest
    if (manifest.origin !== this.#origin) this.#report('wrong_origin', place, `the manifest is of ${manifest.origin}`)
    const ascends =
      selection.kind === 'range'
        ? selection.from <= selection.to && selection.to <= checkpoint.size
        : selection.indexes.every((index, i) => index < checkpoint.size && (i === 0 || index > (selection.indexes[i - 1] ?? index)))
    if (!ascends) this.#report('malformed', place, 'the selection is not one of a log of this size')
    const whole = selection.kind === 'range' && selection.from === 0 && selection.to === checkpoint.size
    if (this.#trust.whole === true && !whole) this.#report('incomplete', place, 'the bundle claims only a part of the log')
  }

  #takeCheckpoint({ note }: CheckpointLine, line: number) {
    this.#checkpointLine = line
    const opened = openCheckpoint(note, this.#origin, this.#trust.keys)
    if (!opened.ok) return this.#report(opened.problem, { line }, opened.detail)
    this.#opened = { checkpoint: opened.checkpoint, signedBy: opened.by.map(({ name, id }) => `${name}+${id}`) }
    const { size, root } = opened.checkpoint
    const claimed = this.#manifest?.checkpoint
    if (claimed?.size !== size || claimed.root !== encodeBase64(root)) {
      this.#report('wrong_root', { line: 1 }, 'size or root of the manifest are not those that were signed')
    }
  }

  #takeEarlier({ note, proof }: EarlierLine, line: number) {
    const opened = openCheckpoint(note, this.#origin, this.#trust.keys)
    if (!opened.ok) return this.#report(opened.problem, { line }, opened.detail)
    const older = opened.checkpoint
    this.#earlier.push({ line, checkpoint: older })
    const newer = this.#opened?.checkpoint
    if (newer !== undefined && !verifyConsistency({ older, newer, proof: decodeProof(proof) })) {
      this.#report('inconsistent_checkpoint', { line, size: older.size }, 'the proof does not lead from it to the checkpoint of the bundle')
    }
  }

  /** Made when the first event comes, or at the end when there is none: then all before the events is known. */
  #eventSection(): EventSection | undefined {
    if (this.#manifest === undefined || this.#section !== undefined) return this.#section
    const { selection } = this.#manifest
    if (selection.kind === 'range') {
      const sizes = this.#earlier.map(({ checkpoint }) => checkpoint.size)
      if (this.#trust.seen !== undefined) sizes.push(this.#trust.seen.size)
      const left = decodeProof(this.#rangeLine?.left ?? [])
      this.#range = RangeRoot.begin(selection.from, left, sizes)
    }
    this.#section = new EventSection(this.#manifest, this.#opened?.checkpoint, this.#range, this.#report)
    return this.#section
  }

  #checkEvents({ selection }: ManifestLine) {
    const complete = this.#eventSection()?.finish() ?? false
    if (selection.kind === 'events') {
      if (this.#rangeLine !== undefined) this.#report('malformed', {}, 'single events have no range')
      return
    }
    const signed = this.#opened?.checkpoint
    if (signed === undefined || !complete || selection.to > signed.size) return
    const place = { index: selection.from, to: selection.to }
    const root = this.#range?.finish(signed.size, decodeProof(this.#rangeLine?.right ?? []))
    if (root === undefined) return this.#report('bad_proof', place, 'the subtrees beside the range are not those of a log of this size')
    if (!sameHash(root, signed.root)) this.#report('wrong_root', place, 'an event of the range or a subtree beside it was changed')
    for (const { line, checkpoint } of this.#earlier) {
      const then = this.#range?.rootAt(checkpoint.size)
      if (then !== undefined && !sameHash(then, checkpoint.root)) {
        this.#report('inconsistent_checkpoint', { line, size: checkpoint.size }, 'the events up to there do not lead to its root')
      }
    }
  }

  #checkSeen() {
    const { seen } = this.#trust
    const signed = this.#opened?.checkpoint
    if (seen === undefined || signed === undefined) return
    const place = { size: seen.size }
    if (seen.origin !== this.#origin) return this.#report('wrong_origin', place, `the checkpoint seen before is of ${seen.origin}`)
    if (signed.size < seen.size) return this.#report('rollback', place, `the checkpoint of the bundle has size ${signed.size}`)
    const now = signed.size === seen.size ? signed.root : (this.#range?.rootAt(seen.size) ?? this.#earlierRoot(seen.size))
    if (now !== undefined && !sameHash(now, seen.root)) return this.#report('fork', place, 'there are two roots at this size')
    if (now === undefined && seen.size > 0)
      this.#report('unconnected', place, 'the bundle has no checkpoint of this size and does not range over it')
  }

  #earlierRoot(size: number): Uint8Array | undefined {
    return this.#earlier.find(({ checkpoint }) => checkpoint.size === size)?.checkpoint.root
  }

  #notProven(): string[] {
    const selection = this.#manifest?.selection
    return [
      ...NEVER_PROVEN,
      ...(selection?.kind === 'events' ? ['that these are all the events of a kind: only those chosen are in the bundle'] : []),
      ...(selection?.kind === 'range' ? [`anything about events outside the indexes ${selection.from} to ${selection.to}`] : []),
      ...(this.#attachments > 0 ? ['that the attached texts were in force: compare their SHA-256 with what the events name'] : []),
    ]
  }

  readonly #report = (kind: FindingKind, place: FindingPlace, detail: string): void => {
    this.#findingCount += 1
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push({ kind, place, detail })
  }
}
