import type { RequestId } from '@caracal/core'
import type { Form } from '@caracal/service'

/** A call of an OAuth endpoint as it came over the wire. */
export type TokenCall = {
  readonly form: Form
  readonly authorization: string | undefined
  /** Address of the peer. */
  readonly source: string
  readonly requestId: RequestId
  readonly clientRequestId: string | undefined
  readonly traceId: string | undefined
}
