import { canonicalJson } from '@caracal/core'
import { decodeBase64, encodeBase64 } from './base64.ts'
import { HASH_BYTES } from './hash.ts'
import type { Proof } from './proof.ts'
import { isTreeSize } from './tree-size.ts'

/**
 * The evidence bundle, format `caracal-evidence-bundle/1`: one UTF-8 text file of lines, each the RFC 8785 JSON of one
 * object and a newline. Nothing else is accepted: no blank line, no other spelling, no unknown member. In this order:
 *
 * | kind         | how many | what                                                                                       |
 * |--------------|----------|--------------------------------------------------------------------------------------------|
 * | `manifest`   | 1        | format, origin, selection, count of events, size and root of the checkpoint, hash algorithm |
 * | `key`        | any      | verifier keys of the log, for comparison; the reader trusts only what he brings himself     |
 * | `checkpoint` | 1        | the signed note everything is proved against                                                |
 * | `earlier`    | any      | checkpoints published before, each with its consistency proof to the one above              |
 * | `attachment` | any      | texts that go with the events, such as the policy versions in force, with their SHA-256     |
 * | `range`      | 1 or 0   | for a range: roots of the perfect subtrees left and right of it                             |
 * | `event`      | count    | the exact text that was hashed, its index and leaf hash; for single events an inclusion proof |
 * | `end`        | 1        | number of lines before, SHA-256 (hex) of all bytes before                                    |
 *
 * Hashes are base64, indexes count from 0. A range [from, to) is proved by recomputing the root of the tree: `left` are the
 * perfect subtrees that tile [0, from), `right` those that tile [to, size), both left to right. A whole log is the range
 * [0, size) and needs neither.
 */
export const BUNDLE_FORMAT = 'caracal-evidence-bundle/1'

/** Which events a bundle claims to hold: all of [from, to), or just those named (ascending). */
export type Selection =
  | { readonly kind: 'range'; readonly from: number; readonly to: number }
  | { readonly kind: 'events'; readonly indexes: readonly number[] }

export type ManifestLine = {
  readonly kind: 'manifest'
  readonly format: typeof BUNDLE_FORMAT
  readonly origin: string
  readonly selection: Selection
  readonly count: number
  readonly checkpoint: { readonly size: number; readonly root: string }
  readonly hash: 'sha-256/rfc9162'
}
export type KeyLine = { readonly kind: 'key'; readonly vkey: string }
export type CheckpointLine = { readonly kind: 'checkpoint'; readonly note: string }
export type EarlierLine = { readonly kind: 'earlier'; readonly note: string; readonly proof: readonly string[] }
export type AttachmentLine = { readonly kind: 'attachment'; readonly name: string; readonly sha256: string; readonly text: string }
export type RangeLine = { readonly kind: 'range'; readonly left: readonly string[]; readonly right: readonly string[] }
export type EventLine = {
  readonly kind: 'event'
  readonly index: number
  readonly leaf: string
  readonly event: string
  readonly proof?: readonly string[]
}
export type EndLine = { readonly kind: 'end'; readonly lines: number; readonly sha256: string }

export type BundleLine = ManifestLine | KeyLine | CheckpointLine | EarlierLine | AttachmentLine | RangeLine | EventLine | EndLine
export type BundleLineKind = BundleLine['kind']

/** The order of the kinds in the file. */
export const LINE_ORDER: readonly BundleLineKind[] = ['manifest', 'key', 'checkpoint', 'earlier', 'attachment', 'range', 'event', 'end']

/** One line of a bundle, newline included. */
export function formatBundleLine(line: BundleLine): string {
  return `${canonicalJson(line)}\n`
}

/** Reads one line without its newline; `undefined` unless it is exactly what `formatBundleLine` writes. */
export function parseBundleLine(text: string): BundleLine | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
    if (canonicalJson(value) !== text) return undefined
  } catch {
    return undefined
  }
  return isBundleLine(value) ? value : undefined
}

/** Proof hashes as they stand in a line. */
export function encodeProof(proof: Proof): string[] {
  return proof.map(encodeBase64)
}

/** Reads hashes of a line whose form was checked by `parseBundleLine`. */
export function decodeProof(proof: readonly string[]): Proof {
  return proof.map((hash) => decodeBase64(hash) ?? new Uint8Array(0))
}

type Check = (value: unknown) => boolean

const text: Check = (value) => typeof value === 'string'
const whole: Check = (value) => typeof value === 'number' && isTreeSize(value)
const hex: Check = (value) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
const hash: Check = (value) => typeof value === 'string' && decodeBase64(value)?.length === HASH_BYTES
const hashes: Check = (value) => Array.isArray(value) && value.every(hash)
const exactly =
  (expected: string): Check =>
  (value) =>
    value === expected
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value)
const members =
  (checks: Readonly<Record<string, Check>>): Check =>
  (value) =>
    isRecord(value) &&
    Object.keys(value).every((name) => Object.hasOwn(checks, name)) &&
    Object.entries(checks).every(([name, check]) => check(Object.hasOwn(value, name) ? value[name] : undefined))

const range = members({ kind: exactly('range'), from: whole, to: whole })
const singles = members({ kind: exactly('events'), indexes: (value) => Array.isArray(value) && value.every(whole) })

const LINES: Readonly<Record<BundleLineKind, Check>> = {
  manifest: members({
    kind: text,
    format: exactly(BUNDLE_FORMAT),
    origin: text,
    selection: (value) => range(value) || singles(value),
    count: whole,
    checkpoint: members({ size: whole, root: hash }),
    hash: exactly('sha-256/rfc9162'),
  }),
  key: members({ kind: text, vkey: text }),
  checkpoint: members({ kind: text, note: text }),
  earlier: members({ kind: text, note: text, proof: hashes }),
  attachment: members({ kind: text, name: text, sha256: hex, text }),
  range: members({ kind: text, left: hashes, right: hashes }),
  event: members({ kind: text, index: whole, leaf: hash, event: text, proof: optional(hashes) }),
  end: members({ kind: text, lines: whole, sha256: hex }),
}

function isBundleLine(value: unknown): value is BundleLine {
  if (!isRecord(value)) return false
  const kind = LINE_ORDER.find((known) => known === value.kind)
  return kind !== undefined && LINES[kind](value)
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
