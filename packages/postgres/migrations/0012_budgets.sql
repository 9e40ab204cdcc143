-- phase: expand
-- What may be spent, what calls have taken provisionally, and what they cost in the end (P-045). Amounts are millionths of a currency's
-- unit, or calls; their sums are exact.

-- `currency`: null for a budget in calls.
CREATE TABLE budgets (
  id text COLLATE "C" PRIMARY KEY,
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  name text COLLATE "C" NOT NULL,
  holder text COLLATE "C" NOT NULL,
  currency text COLLATE "C",
  most numeric(20) NOT NULL CHECK (most >= 0),
  span text NOT NULL CHECK (span IN ('total', 'calendar', 'rolling')),
  per text CHECK (per IN ('hour', 'day', 'week', 'month')),
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  archived_at timestamptz,
  UNIQUE (zone, id),
  CHECK ((span = 'total') = (per IS NULL))
);
CREATE UNIQUE INDEX budgets_name ON budgets (zone, name) WHERE archived_at IS NULL;
CREATE INDEX budgets_holder ON budgets (zone, holder) WHERE archived_at IS NULL;

-- Balances: one span for a window of the calendar or for good, a sixtieth of the window for a rolling one.
CREATE TABLE budget_spans (
  zone text COLLATE "C" NOT NULL,
  budget text COLLATE "C" NOT NULL,
  starts_at timestamptz NOT NULL,
  spent numeric(20) NOT NULL CHECK (spent >= 0),
  reserved numeric(20) NOT NULL CHECK (reserved >= 0),
  PRIMARY KEY (budget, starts_at),
  FOREIGN KEY (zone, budget) REFERENCES budgets (zone, id)
);
-- A few rows that are rewritten beside themselves with every call.
ALTER TABLE budget_spans SET (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Provisional charges: gone when they are settled or released. `held`: what was taken of which span. An expired one holds nothing any
-- more and is kept for a settlement that comes late.
CREATE TABLE charges (
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  request text COLLATE "C" NOT NULL,
  state text NOT NULL CHECK (state IN ('reserved', 'expired')),
  what jsonb NOT NULL,
  held jsonb NOT NULL,
  amount numeric(20) NOT NULL CHECK (amount >= 0),
  currency text COLLATE "C",
  reserved_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (zone, request)
);
CREATE INDEX charges_expiry ON charges (state, expires_at);
ALTER TABLE charges SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);

-- What calls cost, once each.
CREATE TABLE usage (
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  request text COLLATE "C" NOT NULL,
  application text COLLATE "C" NOT NULL,
  subject text COLLATE "C",
  session text COLLATE "C",
  resource text COLLATE "C" NOT NULL,
  operation text COLLATE "C",
  amount numeric(20) NOT NULL CHECK (amount >= 0),
  currency text COLLATE "C",
  budgets text[] COLLATE "C" NOT NULL,
  late boolean NOT NULL,
  at timestamptz NOT NULL,
  settled_at timestamptz NOT NULL,
  PRIMARY KEY (zone, request)
);
CREATE INDEX usage_at ON usage (zone, at);

GRANT SELECT, INSERT, UPDATE ON budgets TO caracal_api;
GRANT SELECT ON budget_spans, usage TO caracal_api;
GRANT SELECT ON budgets TO caracal_sts, caracal_coordinator;
GRANT SELECT, INSERT, UPDATE, DELETE ON budget_spans, charges TO caracal_sts;
GRANT SELECT, INSERT, DELETE ON usage TO caracal_sts;
-- The STS keeps charges: that which ran out is a job of its own.
GRANT SELECT, INSERT, UPDATE ON jobs TO caracal_sts;

DO $$
DECLARE
  held text;
BEGIN
  FOREACH held IN ARRAY ARRAY['budgets', 'budget_spans', 'charges', 'usage'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', held);
    EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', held);
    EXECUTE format($policy$CREATE POLICY in_zone ON %I TO caracal_api, caracal_sts, caracal_audit, caracal_coordinator
      USING (zone = current_setting('caracal.zone', true)) WITH CHECK (zone = current_setting('caracal.zone', true))$policy$, held);
  END LOOP;
END $$;
-- Which budgets concern whom is part of the configuration of every zone.
CREATE POLICY every_zone ON budgets FOR SELECT TO caracal_sts, caracal_coordinator USING (true);

-- The budgets of these holders and these by id, locked in the order of their ids whoever asks: charges of one budget are one after
-- another, and none wait on each other crosswise. Locking needs a right to change, which the STS has not: it may not move a limit.
CREATE FUNCTION caracal_lock_budgets(asked text, holders text[], wanted text[]) RETURNS SETOF budgets LANGUAGE sql VOLATILE ROWS 10
  SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT * FROM budgets WHERE zone = asked AND caracal_is_about(asked) AND (holder = ANY (holders) OR id = ANY (wanted))
  ORDER BY id FOR NO KEY UPDATE
$$;
-- The one look of the STS across zones: which charges ran out, and which that did long ago are to be forgotten. It gives ids; each is
-- changed within its zone.
CREATE FUNCTION caracal_charges_due(moment timestamptz, long_ago timestamptz, most integer) RETURNS TABLE (zone text, request text, state text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  (SELECT c.zone, c.request, c.state FROM charges AS c WHERE c.state = 'reserved' AND c.expires_at <= moment ORDER BY c.expires_at LIMIT most)
  UNION ALL
  (SELECT c.zone, c.request, c.state FROM charges AS c WHERE c.state = 'expired' AND c.expires_at <= long_ago ORDER BY c.expires_at LIMIT most)
$$;
REVOKE ALL ON FUNCTION caracal_lock_budgets(text, text[], text[]), caracal_charges_due(timestamptz, timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION caracal_lock_budgets(text, text[], text[]), caracal_charges_due(timestamptz, timestamptz, integer) TO caracal_sts;
