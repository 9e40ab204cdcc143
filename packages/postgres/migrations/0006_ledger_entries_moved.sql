-- phase: contract
-- The entries that stood one in a row go into blocks, byte for byte, in their order; then the rows go.
-- A release that knows rows only must not run here.

-- The number that characters of a TypeID stand for (Crockford base32).
CREATE FUNCTION caracal_moving_base32(digits text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT sum((strpos('0123456789abcdefghjkmnpqrstvwxyz', substr(digits, n, 1)) - 1)::bigint << (5 * (length(digits) - n)))::bigint
  FROM generate_series(1, length(digits)) AS n
$$;
CREATE FUNCTION caracal_moving_is_id(value text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT value ~ '^[a-z]{3}_[0-7][0-9a-hjkmnp-tv-z]{25}$'
$$;
-- The millisecond in an id, and the four bytes that a block keeps of it.
CREATE FUNCTION caracal_moving_millis(id text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT caracal_moving_base32(substr(id, 5, 10))
$$;
CREATE FUNCTION caracal_moving_mark(id text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT substring(int8send(caracal_moving_base32(right(id, 7))) FROM 5 FOR 4)
$$;
CREATE FUNCTION caracal_moving_term(zone text, span bigint, field text, value text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT -1 - (span % 8388608 << 40) - ('x' || encode(substring(
    sha256(convert_to(zone, 'UTF8') || '\x00' || convert_to(field, 'UTF8') || '\x00' || convert_to(value, 'UTF8')) FROM 1 FOR 5), 'hex'))::bit(40)::bigint
$$;

CREATE TEMPORARY TABLE moving ON COMMIT DROP AS
  SELECT *, min(seq) OVER (PARTITION BY zone, run, seq / 256) AS first_seq FROM (
    SELECT *, sum(edge) OVER (PARTITION BY zone ORDER BY seq) AS run FROM (
      SELECT *, CASE WHEN bucket = lag(bucket) OVER (PARTITION BY zone ORDER BY seq) THEN 0 ELSE 1 END AS edge FROM (
        SELECT *, caracal_moving_millis(event_id) >> 13 AS bucket FROM log_entries
      ) AS bucketed
    ) AS edged
  ) AS run;
CREATE TEMPORARY TABLE moving_ids ON COMMIT DROP AS
  SELECT zone, first_seq, bucket, field, value, caracal_moving_is_id(value) AS is_id,
    CASE WHEN caracal_moving_is_id(value) THEN caracal_moving_millis(value) END AS millis
  FROM (
    SELECT DISTINCT zone, first_seq, bucket, field, value
    FROM moving CROSS JOIN LATERAL (VALUES ('request_id', request_id), ('jti', jti)) AS other (field, value) WHERE value IS NOT NULL
  ) AS distinct_ids;

CREATE INDEX ON moving (zone, first_seq);
CREATE INDEX ON moving_ids (zone, first_seq);

-- Plain texts may be compressed by Postgres itself.
ALTER TABLE log_blocks ALTER COLUMN data SET STORAGE EXTENDED;
INSERT INTO log_blocks (zone, first_seq, count, from_time, to_time, appended_at, bucket, ids_from, ids_to, codec, terms, event_ids, other_ids, data)
SELECT block.zone, block.first_seq, block.count, from_time, to_time, now(), block.bucket,
  least(block.ids_from, near.ids_from), greatest(block.ids_to, near.ids_to), 0,
  array(
    SELECT DISTINCT caracal_moving_term(block.zone, block.first_seq >> 14, field, value)
    FROM moving AS one CROSS JOIN LATERAL (VALUES ('type', type), ('decision', decision), ('reason', reason), ('application', application),
      ('subject', subject), ('session', session), ('resource', resource)) AS fields (field, value)
    WHERE one.zone = block.zone AND one.first_seq = block.first_seq AND value IS NOT NULL
    UNION
    SELECT CASE WHEN is_id THEN caracal_moving_base32(substr(value, 5, 13)) ELSE caracal_moving_term(block.zone, block.first_seq >> 14, field, value) END
    FROM moving_ids AS far
    WHERE far.zone = block.zone AND far.first_seq = block.first_seq AND (NOT is_id OR millis >> 13 <> far.bucket)
  ),
  block.event_ids, coalesce(near.marks, ''), block.data
FROM (
  SELECT zone, first_seq, count(*) AS count, min(time) AS from_time, max(time) AS to_time, min(bucket) AS bucket,
    min(caracal_moving_millis(event_id)) AS ids_from, max(caracal_moving_millis(event_id)) AS ids_to,
    string_agg(caracal_moving_mark(event_id), '' ORDER BY seq) AS event_ids,
    string_agg('\x00'::bytea || convert_to(event, 'UTF8'), '' ORDER BY seq) AS data
  FROM moving GROUP BY zone, first_seq
) AS block
LEFT JOIN LATERAL (
  SELECT string_agg(caracal_moving_mark(value), '') AS marks, min(millis) AS ids_from, max(millis) AS ids_to FROM moving_ids
  WHERE moving_ids.zone = block.zone AND moving_ids.first_seq = block.first_seq AND is_id AND millis >> 13 = moving_ids.bucket
) AS near ON true;
ALTER TABLE log_blocks ALTER COLUMN data SET STORAGE EXTERNAL;

DROP TABLE moving, moving_ids, log_entries;
DROP FUNCTION caracal_moving_term(text, bigint, text, text), caracal_moving_mark(text), caracal_moving_millis(text), caracal_moving_is_id(text),
  caracal_moving_base32(text);
UPDATE schema_floor SET floor = 6;
