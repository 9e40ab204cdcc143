import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type EvidenceGroup, isVersion1, type VerifiedEvidence } from '../evidence/evidence-payload.ts'
import type { StreamLogger } from '../stream-logger.ts'
import type { Streams } from '../streams.ts'
import { AppendLog, type Wanted } from './append-log.ts'
import { lockDirectory } from './directory-lock.ts'
import { Drain } from './drain.ts'
import type { SpoolRecord } from './segment.ts'
import { producerOf, recoverSegments } from './spool-files.ts'
import { upgradeSegments } from './upgrade.ts'

export type SpoolOptions = {
  /** On the replay volume; made when it is missing. */
  readonly dir: string
  /** First part of the producer's name. */
  readonly role: string
  readonly streams: Streams
  readonly logger: StreamLogger
  /** The text that is kept and sent for a group of events, authenticated; an event that cannot be read any more is `''`. */
  readonly seal: (group: EvidenceGroup) => string
  /** The groups of such a text, if it is as it was sealed. */
  readonly open: (payload: string) => VerifiedEvidence
  /** Together the segments are never longer; bytes, 1 GiB unless said otherwise. */
  readonly maxBytes?: number
  /** Bytes after which a segment is followed by a new one, 8 MiB unless said otherwise. */
  readonly segmentBytes?: number
  /** Milliseconds after which what the ledger has not confirmed is looked for, 30 s unless said otherwise. */
  readonly resendMs?: number
}

export type SpoolHealth = {
  /** Number of the last event that became durable. */
  readonly made: number
  /** Events that the ledger has not confirmed. */
  readonly records: number
  /** Of these, events that the work stream does not have either. */
  readonly unsent: number
  /** Age of the oldest event that the work stream does not have. */
  readonly oldestSeconds: number
  /** Part of the space that is in use, 0 to 1. */
  readonly usedRatio: number
  readonly writeErrors: number
  /** How often the volume was synchronised. */
  readonly commits: number
}

/** Durable before the effect: what is appended survives the process, is sent while it runs, and stays until the ledger has it. */
export type Spool = {
  readonly producer: string
  /**
   * Keeps the text of an event and resolves with its number at this producer when it is durable. `soon`: with the next event, or within 20 ms.
   * @throws EvidenceUnavailable when the volume is full or cannot be written.
   */
  append(text: string, when?: Wanted): Promise<number>
  /** The ledger holds everything up to and including `seq`. */
  confirm(seq: number): void
  writable(): boolean
  health(): SpoolHealth
  /** Lets nothing in any more, sends what it can within `ms`, gives the directory free. Returns how many events were not sent. */
  close(ms: number): Promise<number>
}

const STREAM = 'caracal.audit.events'
const REMEMBER_EVERY_MS = 5_000

/** Opens the spool of a directory after whatever ended the process before. @throws Error when another process has the directory. */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { dir, role, streams, logger, maxBytes = 1024 * 1024 * 1024, resendMs = 30_000 } = options
  // The last segment is never dropped: one that is as large as all the space would keep it full for ever.
  const segmentBytes = Math.min(options.segmentBytes ?? 8 * 1024 * 1024, maxBytes / 8)
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const unlock = await lockDirectory(dir)
  try {
    const producer = await producerOf(dir, role)
    await upgradeSegments({ dir, producer, logger, seal: options.seal, open: options.open })
    const segments = await recoverSegments(dir, logger)
    /** When events became durable, one entry a second at most, as long as they are not sent. */
    const made: { upTo: number; readonly at: number }[] = segments.map(({ lastSeq }) => ({ upTo: lastSeq, at: performance.now() }))
    const seal = (first: number, events: readonly string[]) => options.seal({ producer, first, events })
    const log = new AppendLog({ dir, segments, logger, seal, segmentBytes, maxBytes, onDurable })
    await log.open()
    let confirmed = Math.max(log.firstSeq - 1, await rememberedConfirmation(dir, log.lastSeq))
    let remembered = { seq: confirmed, at: performance.now() }
    let dropping: Promise<void> = log.drop(confirmed)
    const drain = new Drain({
      log,
      streams,
      stream: STREAM,
      logger,
      producer,
      confirmed: () => confirmed,
      lost: (first, count) => seal(first, Array(count).fill('')),
      isWhole,
      resendMs,
    })

    function onDurable(): void {
      const now = performance.now()
      const last = made.at(-1)
      if (last && now - last.at < 1_000) last.upTo = log.lastSeq
      else made.push({ upTo: log.lastSeq, at: now })
      forget()
      drain.notify()
    }

    function isWhole({ first, count, payload }: SpoolRecord): boolean {
      if (isVersion1(payload)) return false // it would make a message of its neighbours that nobody can read
      const opened = options.open(payload)
      if (!opened.ok || opened.value.length !== 1) return false
      return opened.value.every((group) => group.first === first && group.events.length === count)
    }

    function forget(): void {
      const sent = log.lastSeq - drain.unsent
      while (made[0] && made[0].upTo <= sent) made.shift()
    }

    /** Only saves sending twice what the ledger has; it may be old or missing. */
    async function remember(): Promise<void> {
      remembered = { seq: confirmed, at: performance.now() }
      await writeFile(join(dir, 'confirmed'), String(confirmed)).catch(() => {})
    }

    return {
      producer,
      append: (text, when) => log.append(text, when),
      confirm: (seq) => {
        if (!Number.isSafeInteger(seq) || seq <= confirmed || seq > log.lastSeq) return
        confirmed = seq
        dropping = dropping
          .then(() => log.drop(confirmed))
          .then(() => (performance.now() - remembered.at > REMEMBER_EVERY_MS ? remember() : undefined))
          .catch((error) => logger.warn({ err: error }, 'a segment of the spool could not be removed'))
      },
      writable: () => log.writable,
      health: () => {
        forget()
        const [oldest] = made
        return {
          made: log.lastSeq,
          records: Math.max(0, log.lastSeq - confirmed),
          unsent: drain.unsent,
          oldestSeconds: oldest && drain.unsent > 0 ? (performance.now() - oldest.at) / 1000 : 0,
          usedRatio: log.bytes / maxBytes,
          writeErrors: log.writeErrors,
          commits: log.commits,
        }
      },
      close: async (ms) => {
        await log.close()
        await drain.flush(ms)
        await drain.stop()
        await dropping
        if (remembered.seq !== confirmed) await remember()
        await unlock()
        return drain.unsent
      },
    }
  } catch (error) {
    await unlock()
    throw error
  }
}

async function rememberedConfirmation(dir: string, lastSeq: number): Promise<number> {
  const seq = Number(await readFile(join(dir, 'confirmed'), 'utf8').catch(() => '0'))
  return Number.isSafeInteger(seq) && seq > 0 && seq <= lastSeq ? seq : 0
}
