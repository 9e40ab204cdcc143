/** Tables of the Postgres stream driver (`migrations/0002_streams.sql`). */
export type StreamTables = Record<never, never>
