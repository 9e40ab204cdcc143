import { pino, stdSerializers } from 'pino'
import { createRedactor, withoutNamedSecrets } from './redact.ts'

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

type Write = (fields: Readonly<Record<string, unknown>>, message: string) => void

/** JSON lines. Fields first, then a constant sentence; an error goes under `err`. */
export type Logger = {
  readonly trace: Write
  readonly debug: Write
  readonly info: Write
  readonly warn: Write
  readonly error: Write
  readonly fatal: Write
  child(fields: Readonly<Record<string, unknown>>): Logger
  isLevelEnabled(level: string): boolean
  /** Lines that could not be written so far. */
  readonly dropped: () => number
}

export type LoggerOptions = {
  readonly name: string
  readonly level: LogLevel
  /** Every secret this process holds: removed wherever it appears. A function is asked for each line: secrets rotate. */
  readonly secrets?: readonly string[] | (() => readonly string[])
  /** Where lines go; standard output. A throw counts as a dropped line. */
  readonly write?: (line: string) => void
}

/** A logger that cannot leak: redacted by name, by form and by value (P-148). */
export function createLogger(options: LoggerOptions): Logger {
  const redact = redactorOf(options.secrets ?? [])
  const write = options.write ?? writeToStdout
  let dropped = 0
  const base = pino(
    {
      level: options.level,
      base: { service: options.name },
      timestamp: pino.stdTimeFunctions.isoTime,
      messageKey: 'message',
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => withoutNamedSecrets(fields) as Record<string, unknown>,
      },
      serializers: { err: (error: Error) => withoutNamedSecrets(stdSerializers.err(error)) },
    },
    {
      write(line: string) {
        try {
          write(redact(line))
        } catch {
          dropped += 1
        }
      },
    },
  )
  const wrap = (inner: typeof base): Logger => {
    const at =
      (level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'): Write =>
      (fields, message) =>
        inner[level](fields, message)
    return {
      trace: at('trace'),
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      fatal: at('fatal'),
      child: (fields) => wrap(inner.child(withoutNamedSecrets(fields) as Record<string, unknown>)),
      isLevelEnabled: (level) => inner.isLevelEnabled(level),
      dropped: () => dropped + (write === writeToStdout ? stdout.lost : 0),
    }
  }
  return wrap(base)
}

/** Made again only when the secrets are others. */
function redactorOf(secrets: readonly string[] | (() => readonly string[])): (line: string) => string {
  if (typeof secrets !== 'function') return createRedactor(secrets)
  let known = secrets()
  let redact = createRedactor(known)
  return (line) => {
    const now = secrets()
    if (now !== known) {
      known = now
      redact = createRedactor(known)
    }
    return redact(line)
  }
}

const stdout = { guarded: false, lost: 0 }

/** Standard output is a pipe in a container: a reader that went away must not end the service. */
function writeToStdout(line: string): void {
  if (!stdout.guarded) {
    stdout.guarded = true
    process.stdout.on('error', () => {
      stdout.lost += 1
    })
  }
  process.stdout.write(line)
}
