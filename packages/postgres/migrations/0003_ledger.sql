-- phase: expand
-- The ledger: per zone an append-only Merkle log (RFC 9162), its tiles and its checkpoints.

-- The zone's sequencer: whoever holds this row's lock assigns the next numbers. `frontier`: roots of the perfect subtrees, left to right.
CREATE TABLE log_heads (
  zone text COLLATE "C" PRIMARY KEY REFERENCES zones (id),
  size bigint NOT NULL DEFAULT 0,
  root bytea NOT NULL,
  frontier bytea NOT NULL,
  updated_at timestamptz NOT NULL
);

-- `event` is the exact canonical text; the other columns repeat what is searched for. `seq` counts from 0.
CREATE TABLE log_entries (
  seq bigint NOT NULL,
  time timestamptz NOT NULL,
  zone text COLLATE "C" NOT NULL REFERENCES log_heads (zone),
  event_id text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL,
  application text COLLATE "C",
  session text COLLATE "C",
  resource text COLLATE "C",
  decision text COLLATE "C",
  reason text COLLATE "C",
  request_id text COLLATE "C",
  subject text COLLATE "C",
  jti text COLLATE "C",
  leaf bytea NOT NULL,
  event text NOT NULL,
  PRIMARY KEY (zone, seq)
);
CREATE UNIQUE INDEX log_entries_event ON log_entries (zone, event_id);
CREATE INDEX log_entries_time ON log_entries (zone, time, seq);
CREATE INDEX log_entries_type ON log_entries (zone, type, seq);
CREATE INDEX log_entries_application ON log_entries (zone, application, seq) WHERE application IS NOT NULL;
CREATE INDEX log_entries_session ON log_entries (zone, session, seq) WHERE session IS NOT NULL;
CREATE INDEX log_entries_resource ON log_entries (zone, resource, seq) WHERE resource IS NOT NULL;
CREATE INDEX log_entries_subject ON log_entries (zone, subject, seq) WHERE subject IS NOT NULL;
CREATE INDEX log_entries_reason ON log_entries (zone, reason, seq) WHERE reason IS NOT NULL;
CREATE INDEX log_entries_decision ON log_entries (zone, decision, seq) WHERE decision IS NOT NULL AND decision <> 'allow';
CREATE INDEX log_entries_request ON log_entries (zone, request_id, seq) WHERE request_id IS NOT NULL;
CREATE INDEX log_entries_jti ON log_entries (zone, jti, seq) WHERE jti IS NOT NULL;

-- C2SP tlog-tiles: up to 256 hashes of 32 bytes at (level, tile).
CREATE TABLE log_tiles (
  zone text COLLATE "C" NOT NULL REFERENCES log_heads (zone),
  level smallint NOT NULL,
  tile bigint NOT NULL,
  hashes bytea NOT NULL CHECK (length(hashes) % 32 = 0 AND length(hashes) BETWEEN 32 AND 8192),
  PRIMARY KEY (zone, level, tile)
);
-- Hashes do not compress.
ALTER TABLE log_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

CREATE TABLE log_checkpoints (
  zone text COLLATE "C" NOT NULL REFERENCES log_heads (zone),
  size bigint NOT NULL,
  root bytea NOT NULL,
  note text NOT NULL,
  at timestamptz NOT NULL,
  PRIMARY KEY (zone, size)
);

-- Everything up to `confirmed_seq` is in the ledger; `ahead` is what arrived beyond a gap.
CREATE TABLE evidence_producers (
  producer text COLLATE "C" PRIMARY KEY,
  confirmed_seq bigint NOT NULL DEFAULT 0,
  ahead int8multirange NOT NULL DEFAULT '{}',
  last_seen timestamptz NOT NULL
);

CREATE TRIGGER log_entries_immutable BEFORE UPDATE OR DELETE ON log_entries FOR EACH ROW EXECUTE FUNCTION caracal_refuse_change();
CREATE TRIGGER log_entries_kept BEFORE TRUNCATE ON log_entries FOR EACH STATEMENT EXECUTE FUNCTION caracal_refuse_change();
CREATE TRIGGER log_checkpoints_immutable BEFORE UPDATE OR DELETE ON log_checkpoints FOR EACH ROW EXECUTE FUNCTION caracal_refuse_change();
CREATE TRIGGER log_checkpoints_kept BEFORE TRUNCATE ON log_checkpoints FOR EACH STATEMENT EXECUTE FUNCTION caracal_refuse_change();
