import { randomUUID } from 'node:crypto'
import { type FileHandle, mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { BudgetId, RequestId, ZoneId } from '@caracal/core'
import type { ChargeRequest } from '@caracal/enforcement'
import type { Logger } from '@caracal/service'

/** A call that was let out on what this point holds of budgets, as the STS is told of it. Amounts in millionths, or calls. */
export type SpentCall = {
  readonly act: 'spend'
  readonly zone: ZoneId
  readonly request: RequestId
  readonly point: string
  readonly what: ChargeRequest['what']
  readonly parts: readonly { readonly budget: BudgetId; readonly amount: string; readonly money: boolean }[]
  readonly amount: string
  readonly currency: string | null
  readonly actual: string | null
  readonly at: number
}

type Line =
  | { readonly is: 'point'; readonly id: string }
  | { readonly is: 'held'; readonly zone: ZoneId; readonly budget: BudgetId }
  | { readonly is: 'let_go'; readonly budget: BudgetId }
  | { readonly is: 'spent'; readonly call: SpentCall }
  | { readonly is: 'ended'; readonly request: RequestId; readonly actual: string | null }
  | { readonly is: 'over'; readonly request: RequestId }

type State = { point: string; readonly held: Map<BudgetId, ZoneId>; readonly unsettled: Map<RequestId, SpentCall> }

/** When nothing is unsettled and the file is longer than this, it is written anew. */
const LONG_BYTES = 256 * 1024
/** How long what nobody waits for waits to be written with something else. Milliseconds. */
const SOON_MS = 50

/**
 * What an enforcement point spends while the store is away, on its own volume: each call is there (fsync) before it goes out, and stays
 * until the store has counted it. A process that ends in between finds it again. The folder must be this process's alone.
 */
export class SpendJournal {
  readonly #path: string
  readonly #logger: Logger
  readonly #state: State
  #file: FileHandle
  #length: number
  #lines: Line[] = []
  #waiting: ((written: boolean) => void)[] = []
  #writing: Promise<void> | undefined
  #soon: NodeJS.Timeout | undefined
  #broken = false
  #closed = false

  private constructor(path: string, state: State, file: FileHandle, length: number, logger: Logger) {
    this.#path = path
    this.#state = state
    this.#file = file
    this.#length = length
    this.#logger = logger
  }

  /**
   * Opens the journal of a folder, which is made if it is not there. What was damaged in it is said; then this point goes by another name, so
   * that what it may have spent under the one before stays counted against its budgets.
   */
  static async open(dir: string, logger: Logger): Promise<SpendJournal> {
    await mkdir(dir, { recursive: true })
    const path = join(dir, 'journal')
    const state = await read(path, logger)
    const { file, length } = await writeAnew(dir, path, state)
    return new SpendJournal(path, state, file, length, logger)
  }

  /** The name of this point: it stays with the volume. */
  get point(): string {
    return this.#state.point
  }

  /** Of which budgets this point has asked to hold something, and not let go. */
  get held(): ReadonlyMap<BudgetId, ZoneId> {
    return this.#state.held
  }

  /** Calls that went out, or may have, and that the store has not counted. */
  get unsettled(): ReadonlyMap<RequestId, SpentCall> {
    return this.#state.unsettled
  }

  /** False once the volume failed: nothing is spent any more. */
  get writable(): boolean {
    return !this.#broken && !this.#closed
  }

  /** Resolves when it is durable; false: it could not be made so. */
  spend(call: SpentCall): Promise<boolean> {
    this.#state.unsettled.set(call.request, call)
    return this.#durably({ is: 'spent', call })
  }

  /** As `spend`. To be said before the store is asked. */
  hold(zone: ZoneId, budget: BudgetId): Promise<boolean> {
    this.#state.held.set(budget, zone)
    return this.#durably({ is: 'held', zone, budget })
  }

  letGo(budget: BudgetId): void {
    if (this.#state.held.delete(budget)) this.#later({ is: 'let_go', budget })
  }

  /** What the call cost. Lost by a crash, it cost its price. */
  ended(request: RequestId, actual: string | null): void {
    const call = this.#state.unsettled.get(request)
    if (call === undefined) return
    this.#state.unsettled.set(request, { ...call, actual })
    this.#later({ is: 'ended', request, actual })
  }

  /** The store has counted it, or it had no effect. */
  over(request: RequestId): void {
    if (this.#state.unsettled.delete(request)) this.#later({ is: 'over', request })
  }

  /** Writes what waits. What is said after it is not written: calls that are not over stay what they were. */
  async close(): Promise<void> {
    this.#closed = true
    this.#begin()
    await this.#writing
    await this.#file.close()
  }

  #durably(line: Line): Promise<boolean> {
    if (this.#broken || this.#closed) return Promise.resolve(false)
    return new Promise((resolve) => {
      this.#lines.push(line)
      this.#waiting.push(resolve)
      this.#begin()
    })
  }

  #later(line: Line): void {
    if (this.#broken || this.#closed) return
    this.#lines.push(line)
    this.#soon ??= setTimeout(() => this.#begin(), SOON_MS).unref()
  }

  #begin(): void {
    clearTimeout(this.#soon)
    this.#soon = undefined
    if (this.#lines.length > 0 && !this.#broken) this.#writing ??= this.#write()
  }

  /** One durable write serves everything that came while the last one ran. */
  async #write(): Promise<void> {
    while (this.#lines.length > 0) {
      const lines = this.#lines.splice(0)
      const waiting = this.#waiting.splice(0)
      try {
        const bytes = Buffer.from(lines.map(textOf).join(''))
        await this.#file.write(bytes, 0, bytes.length, this.#length)
        await this.#file.datasync()
        this.#length += bytes.length
        for (const told of waiting) told(true)
        if (this.#length > LONG_BYTES && this.#state.unsettled.size === 0 && this.#lines.length === 0) await this.#shorten()
      } catch (error) {
        // What stands on the volume now is not known: what is written after it might be read as something else.
        this.#broken = true
        this.#logger.error(
          { err: error, path: this.#path },
          'the journal of spending cannot be written: nothing is spent while the store is away',
        )
        for (const told of [...waiting, ...this.#waiting.splice(0)]) told(false)
        this.#lines = []
      }
    }
    this.#writing = undefined
  }

  async #shorten(): Promise<void> {
    const before = this.#file
    // What is said from here on is in the state, or in the lines that wait: twice is as good as once.
    const { file, length } = await writeAnew(join(this.#path, '..'), this.#path, this.#state)
    this.#file = file
    this.#length = length
    await before.close()
  }
}

/** Each line carries its checksum. */
function textOf(line: Line): string {
  const text = JSON.stringify(line)
  return `${crc32(text).toString(16).padStart(8, '0')} ${text}\n`
}

function lineOf(text: string): Line | undefined {
  const body = text.slice(9)
  return text[8] === ' ' && crc32(body).toString(16).padStart(8, '0') === text.slice(0, 8) ? (JSON.parse(body) as Line) : undefined
}

async function read(path: string, logger: Logger): Promise<State> {
  const state: State = { point: randomUUID(), held: new Map(), unsettled: new Map() }
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return state
    throw error
  }
  const lines = text.split('\n').slice(0, -1).map(lineOf)
  const whole = lines.findLastIndex((line) => line !== undefined) + 1
  for (const line of lines) if (line !== undefined) take(state, line)
  // What was torn at the end was never acknowledged; what is damaged before it may be a call that went out.
  if (lines.slice(0, whole).includes(undefined)) {
    logger.error({ path }, 'the journal of spending is damaged: what was held under its name is not spent any more')
    state.point = randomUUID()
    state.held.clear()
  }
  return state
}

function take(state: State, line: Line): void {
  const { held, unsettled } = state
  if (line.is === 'point') state.point = line.id
  else if (line.is === 'held') held.set(line.budget, line.zone)
  else if (line.is === 'let_go') held.delete(line.budget)
  else if (line.is === 'spent') unsettled.set(line.call.request, line.call)
  else if (line.is === 'over') unsettled.delete(line.request)
  else {
    const call = unsettled.get(line.request)
    if (call !== undefined) unsettled.set(line.request, { ...call, actual: line.actual })
  }
}

/** Writes the state beside the journal and puts it in its place, so that there is always a whole one. */
async function writeAnew(dir: string, path: string, { point, held, unsettled }: State): Promise<{ file: FileHandle; length: number }> {
  const lines: Line[] = [
    { is: 'point', id: point },
    ...[...held].map(([budget, zone]): Line => ({ is: 'held', zone, budget })),
    ...[...unsettled.values()].map((call): Line => ({ is: 'spent', call })),
  ]
  const bytes = Buffer.from(lines.map(textOf).join(''))
  const file = await open(`${path}.new`, 'w')
  await file.write(bytes, 0, bytes.length, 0)
  await file.sync()
  await rename(`${path}.new`, path)
  const folder = await open(dir)
  await folder.sync()
  await folder.close()
  return { file, length: bytes.length }
}
