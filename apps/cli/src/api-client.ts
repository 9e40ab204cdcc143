import { randomUUID } from 'node:crypto'
import { request } from 'undici'
import { CliError } from './cli-error.ts'

/** A problem+json body, as far as the CLI shows it. */
type Problem = {
  readonly code?: string
  readonly title?: string
  readonly detail?: string
  readonly fix?: string
  readonly request_id?: string
  readonly errors?: readonly {
    readonly pointer?: string
    readonly file?: string
    readonly line?: number
    readonly column?: number
    readonly field?: string
    readonly message?: string
    readonly detail?: string
  }[]
}

export type CallOptions = {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly body?: unknown
  readonly query?: Readonly<Record<string, string | undefined>>
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * Calls a service with a bearer token and returns the JSON of a 2xx answer.
 * Everything else becomes a CliError that names the code, what is wrong and what to do; nothing is retried with another credential.
 */
export async function callService<T>(base: string, token: string, path: string, options: CallOptions = {}): Promise<T> {
  const url = new URL(base + path)
  for (const [name, value] of Object.entries(options.query ?? {})) if (value !== undefined) url.searchParams.set(name, value)
  const method = options.method ?? (options.body === undefined ? 'GET' : 'POST')
  const answer = await request(url, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      accept: 'application/json',
      ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(method === 'POST' ? { 'idempotency-key': `"${randomUUID()}"` } : {}),
      ...options.headers,
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
  }).catch((error: Error) => {
    throw unreachable(base, error)
  })
  const text = await answer.body.text()
  if (answer.statusCode >= 200 && answer.statusCode < 300) return (text === '' ? undefined : JSON.parse(text)) as T
  throw problemError(answer.statusCode, text)
}

/** Nothing answered: an AggregateError (several addresses of one name) has its words in its code. */
export function unreachable(base: string, error: Error): CliError {
  const why = error.message || (error as NodeJS.ErrnoException).code || error.name
  return new CliError(`${base} cannot be reached: ${why}`, 'Is `caracal up` running? Is the address right?')
}

/** Every item of a list, page by page to the end. */
export async function listAll<T>(
  base: string,
  token: string,
  path: string,
  query: Readonly<Record<string, string | undefined>> = {},
): Promise<T[]> {
  const items: T[] = []
  let cursor: string | null | undefined
  do {
    const page: { items: T[]; next_cursor: string | null } = await callService(base, token, path, {
      query: { ...query, cursor: cursor ?? undefined, limit: '500' },
    })
    items.push(...page.items)
    cursor = page.next_cursor
  } while (cursor)
  return items
}

/** What an answer outside 2xx says; one that is no problem document is quoted. */
export function problemError(status: number, text: string): CliError {
  let problem: Problem = { detail: text.slice(0, 200).trim() }
  try {
    const found = JSON.parse(text) as Problem | null
    if (typeof found?.code === 'string') problem = found
  } catch {
    // Not JSON: quoted as it is.
  }
  const head = [problem.code ?? `HTTP ${status}`, problem.detail ?? problem.title].filter(Boolean).join(': ')
  const lines = (problem.errors ?? []).map((error) => {
    const place = [error.file, error.line, error.column].filter((part) => part !== undefined).join(':')
    return [place, error.field ?? error.pointer, error.message ?? error.detail]
      .filter((part) => part !== undefined && part !== '')
      .join('  ')
  })
  return new CliError(`${head}${problem.request_id ? ` (${problem.request_id})` : ''}`, problem.fix, { lines, code: problem.code })
}
