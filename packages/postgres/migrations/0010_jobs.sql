-- phase: expand
-- Work that one replica does for all of them: who does it, until when, and how it went (P-117).

CREATE TABLE jobs (
  name text COLLATE "C" PRIMARY KEY,
  owner text NOT NULL,
  -- Grows with every owner: what an earlier one still does is known by it.
  fence bigint NOT NULL,
  lease_until timestamptz NOT NULL,
  last_started timestamptz,
  last_succeeded timestamptz,
  -- Of the last run that ended well.
  last_duration interval,
  failures bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now()
);
-- A few rows that are rewritten beside themselves.
ALTER TABLE jobs SET (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

GRANT SELECT, INSERT, UPDATE ON jobs TO caracal_coordinator;
