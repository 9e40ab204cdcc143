/** A claim that waits to be made with others; `ttl` in seconds. */
export type WantedClaim = {
  readonly key: string
  readonly owner: string
  readonly ttl: number
  readonly resolve: (got: boolean) => void
  readonly reject: (error: unknown) => void
}
