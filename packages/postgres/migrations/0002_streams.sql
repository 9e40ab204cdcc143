-- phase: expand
-- Streams over Postgres: broadcast streams with one head each, a work queue, its quarantine, and claims.

-- One row per broadcast stream. Whoever appends updates it first, so the order of numbers is the order of commits and
-- nobody ever sees a number before a lower one. The last heartbeat stands here too: it takes no row of its own.
CREATE TABLE stream_heads (
  stream text COLLATE "C" PRIMARY KEY,
  epoch text NOT NULL,
  seq bigint NOT NULL,
  beat_at timestamptz NOT NULL DEFAULT '-infinity',
  beat text,
  beat_key text,
  beat_mac text
) WITH (fillfactor = 25);

CREATE TABLE stream_broadcasts (
  stream text COLLATE "C" NOT NULL,
  seq bigint NOT NULL,
  payload text NOT NULL,
  key_id text NOT NULL,
  mac text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (stream, seq)
);
CREATE INDEX stream_broadcasts_age ON stream_broadcasts (created_at);

-- Acknowledged rows are deleted. `available_at` is the end of a lease or of a pause before the next try; it is in no
-- index, so that leasing a row is a cheap update.
CREATE TABLE stream_work (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  stream text COLLATE "C" NOT NULL,
  partition text NOT NULL,
  payload text NOT NULL,
  key_id text NOT NULL,
  mac text NOT NULL,
  deliveries integer NOT NULL DEFAULT 0,
  consumer text,
  available_at timestamptz NOT NULL DEFAULT now(),
  created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX stream_work_order ON stream_work (stream, id);

CREATE TABLE stream_quarantine (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  stream text COLLATE "C" NOT NULL,
  partition text NOT NULL,
  payload text NOT NULL,
  key_id text NOT NULL,
  mac text NOT NULL,
  reason text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX stream_quarantine_order ON stream_quarantine (stream, id);

CREATE TABLE stream_claims (
  key text COLLATE "C" PRIMARY KEY,
  owner text NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX stream_claims_expiry ON stream_claims (expires_at);
