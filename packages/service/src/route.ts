import type { IncomingHttpHeaders } from 'node:http'
import type { Refusal, RequestId, Result, ZoneId } from '@caracal/core'
import type { Static, TSchema } from 'typebox'
import type { Answer } from './answer.ts'
import type { Form, FormBody } from './form.ts'
import type { IdempotencyClaim } from './idempotency.ts'
import type { RefusalContext, WireRefusal } from './problem.ts'
import type { TraceContext } from './trace.ts'
import type { Principal, Who } from './who.ts'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** A documented refusal of a row: which reasons its status can carry. */
export type ProblemReply = { readonly problem: readonly string[] }

/** `reply: { 409: Problem('version_moved') }` */
export function Problem(...reasons: Refusal['reason'][]): ProblemReply {
  return { problem: reasons }
}

export type Replies = { readonly [status: number]: TSchema | ProblemReply | null }

/** The body of a row's successes. A row without a schema for them gives nothing or an `Answer`. */
type Success<R extends Replies> = { [S in keyof R & (200 | 201 | 202)]: R[S] extends TSchema ? Static<R[S]> : undefined }[keyof R &
  (200 | 201 | 202)]

type Parsed<S> = S extends FormBody ? Form : S extends TSchema ? Static<S> : undefined

/** What a handler sees. Everything in it has been checked against the row. */
export type RouteRequest<P = undefined, Q = undefined, B = undefined> = {
  readonly id: RequestId
  /** The caller's own `X-Request-Id`, when it is printable and short. */
  readonly clientRequestId: string | undefined
  readonly principal: Principal
  /** The zone of the path, resolved; null where the path has none. */
  readonly zone: ZoneId | null
  readonly params: Parsed<P>
  readonly query: Parsed<Q>
  readonly body: Parsed<B>
  readonly headers: IncomingHttpHeaders
  readonly method: string
  /** Path and query as sent. */
  readonly url: string
  /** Address the request came from, through trusted proxies only. */
  readonly source: string
  readonly trace: TraceContext
  /** Aborted when the client goes away or the service drains. */
  readonly signal: AbortSignal
  /** Set when the row is idempotent and the caller sent a key: see `idempotency.ts`. */
  readonly idempotency: IdempotencyClaim | null
}

/** What is given to `route`. Schemas of objects are closed unless they say otherwise. */
export type RouteInput<P, Q, B, R extends Replies> = {
  readonly method: Method
  /** Literal segments and `:name`; `*` only at the end. */
  readonly path: string
  readonly who: Who | readonly Who[]
  readonly summary: string
  /** `public` rows may be reached through an Ingress; `cluster` rows only from inside. */
  readonly exposure: 'public' | 'cluster'
  /** Rate class; its numbers are given at start. */
  readonly rate?: string
  /** What the event of it is called; the app records it. */
  readonly audit?: string
  /** Takes `Idempotency-Key`. */
  readonly idempotent?: boolean
  /** A POST form for anyone that is asked for so often that it has its own way past the router (`direct-door.ts`). */
  readonly direct?: true
  /** Bodies of internal calls that carry secrets are encrypted, both ways. */
  readonly sealed?: boolean
  readonly params?: P
  readonly query?: Q
  readonly body?: B
  /** Largest body in bytes; 1 MiB, forms 64 KiB. */
  readonly maxBodyBytes?: number
  readonly reply: R
  /** How refusals look: problem+json unless the protocol has its own words. */
  readonly refusal?: (refusal: Refusal, context: RefusalContext) => WireRefusal
  readonly handle: (request: RouteRequest<P, Q, B>) => Promise<Result<Success<R>> | Answer> | Result<Success<R>> | Answer
}

/** A row of a route table. Authentication, validation, OpenAPI, metrics and rate class derive from it. */
export type RouteRow = Omit<RouteInput<unknown, unknown, unknown, Replies>, 'who' | 'handle' | 'params' | 'query' | 'body'> & {
  readonly who: readonly Who[]
  readonly params: TSchema | undefined
  readonly query: TSchema | undefined
  readonly body: TSchema | FormBody | undefined
  readonly handle: (request: RouteRequest<never, never, never>) => Promise<Result<unknown> | Answer> | Result<unknown> | Answer
}

/** One row. The types of `request.params`, `query` and `body` come from its schemas. */
export function route<
  const R extends Replies,
  P extends TSchema | undefined = undefined,
  Q extends TSchema | undefined = undefined,
  B extends TSchema | FormBody | undefined = undefined,
>(row: RouteInput<P, Q, B, R>): RouteRow {
  return {
    ...row,
    who: 'kind' in row.who ? [row.who] : row.who,
    params: row.params,
    query: row.query,
    body: row.body,
    handle: row.handle as RouteRow['handle'],
  }
}

/** Names of the path's parameters, in order. */
export function pathParameters(path: string): string[] {
  return [...path.matchAll(/:([A-Za-z0-9_]+)/g)].map((found) => found[1] ?? '')
}
