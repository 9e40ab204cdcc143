export { BUNDLE_FINDINGS, type Finding, type FindingKind, type FindingPlace, NEVER_PROVEN } from './bundle-finding.ts'
export { BUNDLE_FORMAT, type Selection } from './bundle-line.ts'
export {
  type Checkpoint,
  type CheckpointProblem,
  formatCheckpoint,
  logOrigin,
  type OpenedCheckpoint,
  openCheckpoint,
  parseCheckpoint,
  signCheckpoint,
  type TrustedKey,
} from './checkpoint.ts'
export { decodeEntryBundle, encodeEntryBundle, MAX_ENTRY_BYTES } from './entry-bundle.ts'
export {
  type Appended,
  appendLeaves,
  decodeFrontier,
  EMPTY_FRONTIER,
  encodeFrontier,
  type Frontier,
  frontierRoot,
  joinHashes,
  splitHashes,
  type TileSlice,
} from './frontier.ts'
export { EMPTY_ROOT, HASH_BYTES, leafHash, nodeHash, prefixedLeafHash, sameHash } from './hash.ts'
export { formatVerifierKey, type NoteSigner, type NoteVerifier, noteSigner, noteVerifier, parseVerifierKey } from './note-key.ts'
export { consistencyProof, inclusionProof, inclusionProofs, type Proof, verifyConsistency, verifyInclusion } from './proof.ts'
export { cosignNote, type Note, type NoteVerdict, parseNote, signNote, verifyNote } from './signed-note.ts'
export { formatTilePath, parseTilePath, TILE_WIDTH, type TileAddress, tilesOfTree, tileWidth } from './tile.ts'
export { faultyTiles, readFrontier, readRoot, type TileFault, type TileSource, tilesInMemory } from './tile-source.ts'
export { type BundleReport, type BundleTrust, verifyBundle } from './verify-bundle.ts'
export { type Watched, type WatchVerdict, watch } from './watch.ts'
export { type BundleParts, writeBundle } from './write-bundle.ts'
