import type { UnixMillis, ZoneId } from '@caracal/core'
import {
  type Checkpoint,
  consistencyProof,
  type NoteSigner,
  type NoteVerifier,
  openCheckpoint,
  readRoot,
  sameHash,
  signCheckpoint,
  verifyConsistency,
} from '@caracal/ledger'
import { type Database, findLogHead, insertCheckpoint, type LogCheckpoint, latestCheckpoint, lockInZone } from '@caracal/postgres'
import { frontierOf, HeadBroken } from '../ingest/append-zone.ts'
import { storedTree, TileMissing } from '../stored-tree.ts'

/** A checkpoint that is not signed, because the log is not the one that was signed before, or is broken. Words for the alarm. */
export type NotPublished = { readonly ok: false; readonly problem: string }

/** `checkpoint` is the latest there is; `fresh` when this call made it. */
export type Published = { readonly ok: true; readonly checkpoint: LogCheckpoint; readonly fresh: boolean } | NotPublished

/**
 * Signs the log as it is now, if it has grown since the last checkpoint. Before it signs it proves, from the stored tree, that the
 * new root is the tree's, and that it extends the last published checkpoint and the one `seen` here or in an anchor (P-103).
 * One at a time per zone, over all replicas.
 */
export async function publishCheckpoint(
  database: Database,
  log: {
    readonly zone: ZoneId
    readonly signer: NoteSigner
    readonly verifiers: readonly NoteVerifier[]
    readonly seen: Checkpoint | undefined
  },
  now: UnixMillis,
): Promise<Published> {
  const { zone, signer, seen } = log
  return await database.transaction(async (tx): Promise<Published> => {
    await lockInZone(tx, zone, 'checkpoint')
    const last = await latestCheckpoint(tx, zone)
    const head = await findLogHead(tx, zone)
    if (head === undefined) return refuse('the log has no head')
    try {
      frontierOf(head)
    } catch (error) {
      if (error instanceof HeadBroken) return refuse(error.message)
      throw error
    }
    const { size, root } = head
    const older: Checkpoint[] = seen === undefined ? [] : [seen]
    if (last !== undefined) {
      const opened = openCheckpoint(
        last.note,
        signer.name,
        log.verifiers.map((verifier) => ({ verifier })),
      )
      if (!opened.ok) return refuse(`the last checkpoint does not verify: ${opened.detail}`)
      older.push(opened.checkpoint)
    }
    for (const one of older) if (one.size > size) return refuse(`the log has ${size} entries where a checkpoint was signed for ${one.size}`)
    const source = storedTree(tx, zone)
    try {
      if (!sameHash(await readRoot(source, size), root)) return refuse('the head has another root than the stored tree')
      for (const one of older) {
        const proof = await consistencyProof(source, one.size, size)
        if (!verifyConsistency({ older: one, newer: { size, root }, proof }))
          return refuse(`the log does not extend its checkpoint of size ${one.size}`)
      }
    } catch (error) {
      if (error instanceof TileMissing) return refuse(error.message)
      throw error
    }
    if (last !== undefined && last.size === size) return { ok: true, checkpoint: last, fresh: false }
    const checkpoint = { zone, size, root, note: signCheckpoint({ origin: signer.name, size, root }, [signer]), at: now }
    if (!(await insertCheckpoint(tx, checkpoint))) return refuse('a checkpoint of this size appeared without the lock')
    return { ok: true, checkpoint, fresh: true }
  })
}

function refuse(problem: string): NotPublished {
  return { ok: false, problem }
}
