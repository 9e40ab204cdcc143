type Write = (fields: Readonly<Record<string, unknown>>, message: string) => void

/** What this package says while it works: fields first, then a constant sentence; an error goes under `err`. */
export type StreamLogger = { readonly info: Write; readonly warn: Write; readonly error: Write }
