-- phase: expand
-- Entries of the ledger stand in blocks: one row for many events, compressed together, found by the block's terms.

-- A block holds the events `first_seq` to `first_seq + count - 1`. Its text is that of the events, each behind a NUL byte (which no
-- JSON text has; it is also the prefix of a leaf in RFC 9162). `codec`: 0 plain, 1 zstd, 2 zstd with dictionary 1.
-- The other columns repeat what is searched for; every hit is verified against the text:
-- * ids of events, requests and mandates carry the millisecond they were made. All events of a block are of one `bucket` of 8,192 ms.
--   `event_ids` has 4 bytes of each event's id, in order; `other_ids` the same of requests and mandates of that bucket;
--   `ids_from` and `ids_to` are the first and the last of all these milliseconds.
-- * `terms`: below 0 the hash of a field and its value, led by the number of the span of 16,384 entries that the block begins in, so that
--   the index grows at its edge; above 0 the first 63 bits of an id that is of another bucket.
CREATE TABLE log_blocks (
  first_seq bigint NOT NULL CHECK (first_seq >= 0),
  from_time timestamptz NOT NULL,
  to_time timestamptz NOT NULL,
  appended_at timestamptz NOT NULL,
  bucket bigint NOT NULL,
  ids_from bigint NOT NULL,
  ids_to bigint NOT NULL,
  count integer NOT NULL CHECK (count BETWEEN 1 AND 4096),
  codec smallint NOT NULL,
  zone text COLLATE "C" NOT NULL REFERENCES log_heads (zone),
  terms bigint[] NOT NULL,
  event_ids bytea NOT NULL CHECK (length(event_ids) = 4 * count),
  other_ids bytea NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (zone, first_seq)
);
-- What is compressed or random does not compress again; terms are written and looked up, hardly ever read.
ALTER TABLE log_blocks ALTER COLUMN event_ids SET STORAGE EXTERNAL, ALTER COLUMN other_ids SET STORAGE EXTERNAL,
  ALTER COLUMN terms SET STORAGE EXTERNAL, ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX log_blocks_ids ON log_blocks (zone, bucket, ids_from, ids_to);
CREATE INDEX log_blocks_terms ON log_blocks USING gin (terms) WITH (fastupdate = off);

CREATE TRIGGER log_blocks_immutable BEFORE UPDATE OR DELETE ON log_blocks FOR EACH ROW EXECUTE FUNCTION caracal_refuse_change();
CREATE TRIGGER log_blocks_kept BEFORE TRUNCATE ON log_blocks FOR EACH STATEMENT EXECUTE FUNCTION caracal_refuse_change();

-- The blocks that have all terms of one of the wanted sets (each written as an array). The zone is part of a term's hash and compared
-- by the caller. The planner knows nothing about the terms of this very moment: it must not guess that reading all rows were cheaper.
CREATE FUNCTION caracal_blocks_with(wanted text[]) RETURNS SETOF log_blocks LANGUAGE sql STABLE ROWS 100 SET enable_seqscan = off AS $$
  SELECT found.* FROM unnest(wanted) AS one (terms) CROSS JOIN LATERAL (SELECT * FROM log_blocks WHERE terms @> one.terms::bigint[]) AS found
$$;
