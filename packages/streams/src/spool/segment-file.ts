import { constants, write } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { SEGMENT_HEADER } from './segment.ts'
import { syncDirectory } from './spool-files.ts'

/** A write returns when the volume has its bytes: one system call, and one way through the thread pool, for write and sync. */
const DURABLE = constants.O_DSYNC ?? constants.O_SYNC
/** Segments that are shorter are not worth to be made beforehand. */
const SPARE_FROM_BYTES = 1024 * 1024
const ZEROS = Buffer.alloc(256 * 1024)

/** Opens a segment that stands on the volume, to be written at any place. */
export function openSegmentFile(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDWR | DURABLE)
}

/** Makes an empty segment under its name. */
export async function createSegmentFile(path: string, dir: string): Promise<FileHandle> {
  await rm(path, { force: true })
  let file: FileHandle | undefined
  try {
    file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | DURABLE, 0o600)
    await file.write(SEGMENT_HEADER, 0, SEGMENT_HEADER.length, 0)
    await syncDirectory(dir)
    return file
  } catch (error) {
    await file?.close().catch(() => {})
    if (file) await rm(path, { force: true }).catch(() => {})
    throw error
  }
}

/** Resolves when the volume has all of `bytes`. */
export function writeDurably(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const from = (done: number) => {
      write(file.fd, bytes, done, bytes.length - done, position + done, (error, written) => {
        if (error) reject(error)
        else if (done + written < bytes.length) from(done + written)
        else resolve()
      })
    }
    from(0)
  })
}

/**
 * The next segment, made while the last one fills: zeros that already have their place on the volume. To write over them
 * changes no length and no map of the file system, which is most of what a small durable append costs. A volume without room
 * for it, or a spare that is not ready, is no fault: then segments grow as they are written.
 */
export class SpareSegment {
  readonly #path: string
  readonly #dir: string
  readonly #bytes: number
  #making: Promise<boolean> | undefined
  #ready = false

  constructor(dir: string, bytes: number) {
    this.#dir = dir
    this.#path = join(dir, 'spare')
    this.#bytes = bytes
  }

  get isReady(): boolean {
    return this.#ready
  }

  /** Begins to make it where there is none. */
  prepare(): void {
    if (this.#bytes >= SPARE_FROM_BYTES) this.#making ??= this.#make()
  }

  /** Puts the spare under a segment's name and opens it; undefined when there is none yet. */
  async take(path: string): Promise<FileHandle | undefined> {
    if (!this.#ready) return undefined
    this.#ready = false
    this.#making = undefined
    try {
      await rename(this.#path, path)
      await syncDirectory(this.#dir)
      return await openSegmentFile(path)
    } catch {
      return undefined
    }
  }

  async remove(): Promise<void> {
    await this.#making
    this.#ready = false
    this.#making = undefined
    await rm(this.#path, { force: true }).catch(() => {})
  }

  async #make(): Promise<boolean> {
    try {
      const file = await open(this.#path, 'w', 0o600)
      try {
        await file.write(SEGMENT_HEADER, 0, SEGMENT_HEADER.length, 0)
        for (let at = SEGMENT_HEADER.length; at < this.#bytes; at += ZEROS.length) await file.write(ZEROS, 0, ZEROS.length, at)
        await file.datasync()
      } finally {
        await file.close()
      }
      this.#ready = true
    } catch {
      await rm(this.#path, { force: true }).catch(() => {})
      this.#making = undefined
    }
    return this.#ready
  }
}
