import type { CheckpointProblem } from './checkpoint.ts'

/** Everything that can be wrong with a bundle, and what it means. The reference page is generated from it. */
export const BUNDLE_FINDINGS = {
  malformed: 'A line is not what the format says, or stands where it must not.',
  truncated_file: 'The file ends before its end line.',
  changed_bytes: 'The bytes of the file are not those its end line was made for.',
  changed_event: 'The text of an event does not have the leaf hash beside it.',
  removed_tail: 'The last events of the selection are not there.',
  missing_event: 'Events inside the selection are not there.',
  sequence_gap: 'Indexes are left out, and the count of the manifest hides it.',
  duplicate_event: 'An index, or the id of an event, stands more than once.',
  reordered_events: 'An event stands behind one with a higher index.',
  unexpected_event: 'An event is not of the selection or of this zone.',
  wrong_root: 'The events do not lead to the root that was signed.',
  bad_proof: 'A proof does not lead to the root that was signed, or is missing.',
  bad_signature: 'The signature of a checkpoint does not fit what it signs.',
  wrong_key: 'No trusted key of the log has signed a checkpoint, or it was not the key of that time.',
  wrong_origin: 'It is of another log.',
  inconsistent_checkpoint: 'A checkpoint published earlier is not the beginning of this log.',
  changed_attachment: 'A text does not have the SHA-256 beside it.',
  rollback: 'The log is smaller than a checkpoint seen before.',
  fork: 'The log is not the one of a checkpoint seen before.',
  unconnected: 'Nothing in the bundle shows that it extends the checkpoint seen before.',
  incomplete: 'The whole log was asked for, and the bundle claims only a part.',
} as const satisfies Record<CheckpointProblem | string, string>

export type FindingKind = keyof typeof BUNDLE_FINDINGS

/** Where: the line of the file (from 1), the index or indexes [from, to) in the log, the size of a checkpoint. */
export type FindingPlace = { readonly line?: number; readonly index?: number; readonly to?: number; readonly size?: number }

export type Finding = { readonly kind: FindingKind; readonly place: FindingPlace; readonly detail: string }

/** What no verification of a log can show. Said with every verdict. */
export const NEVER_PROVEN: readonly string[] = [
  'that what the events say is true: a service compromised before it signed can record what did not happen',
  'that everything that happened was recorded: an event that never reached the log leaves no trace in it',
  'that the times in the events are right: the order is proven, the clocks are not',
  'that this is the newest state of the log: later checkpoints may exist',
  'that nobody else was shown another history: compare the checkpoint with anchors, witnesses or other readers',
  'that the keys given for the verification belong to the operator of the log: get them on another way than the bundle',
]
