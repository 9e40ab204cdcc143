/** A key for its owner, for `ttl` seconds. */
export type Claim = { readonly key: string; readonly owner: string; readonly ttl: number }

/** A claim that waits to be made with others; `ttl` in seconds. */
export type WantedClaim = Claim & {
  readonly resolve: (got: boolean) => void
  readonly reject: (error: unknown) => void
}
