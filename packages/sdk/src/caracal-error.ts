/** A refusal or failure, with what a program needs to react: the stable code, whether trying again can help, what to do. */
export class CaracalError extends Error {
  override readonly name = 'CaracalError'
  /** Stable reason, e.g. `no_rule_allows`; `unreachable` when there was no answer at all. */
  readonly code: string
  /** HTTP status; 0 when there was no answer. */
  readonly status: number
  readonly requestId: string | undefined
  readonly retryable: boolean
  /** Seconds that the service asks to wait. */
  readonly retryAfter: number | undefined
  /** What the caller can do, where the service says so. */
  readonly remedy: string | undefined

  constructor(
    message: string,
    facts: {
      code: string
      status: number
      requestId?: string | undefined
      retryAfter?: number | undefined
      remedy?: string | undefined
      cause?: unknown
    },
  ) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.code = facts.code
    this.status = facts.status
    this.requestId = facts.requestId
    this.retryAfter = facts.retryAfter
    this.remedy = facts.remedy
    this.retryable = facts.status === 0 || facts.status === 429 || facts.status === 503 || facts.status === 504
  }
}

/** Makes the error of a refusal: problem+json of a service or the OAuth error of the token endpoint. Unknown fields are ignored. */
export async function errorOf(response: Response): Promise<CaracalError> {
  const text = await response.text()
  let body: Record<string, unknown> = {}
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null) body = parsed as Record<string, unknown>
  } catch {
    // Not ours, or cut short: the status says what is known.
  }
  const string = (name: string) => (typeof body[name] === 'string' ? body[name] : undefined)
  const code = string('code') ?? string('error') ?? `http_${response.status}`
  const after = Number(response.headers.get('retry-after'))
  return new CaracalError(`${code}: ${string('detail') ?? string('error_description') ?? string('title') ?? response.statusText}`, {
    code,
    status: response.status,
    requestId: string('request_id') ?? response.headers.get('x-request-id') ?? undefined,
    retryAfter: Number.isFinite(after) && after > 0 ? Math.min(after, 10) : undefined,
    remedy: string('fix'),
  })
}
