-- phase: expand
-- What enforcement points hold of budgets for the time that the store is away. It counts against every window until its holder has said
-- what was spent of it: in `budget_spans` it is the span that begins in the year 9999.

CREATE TABLE budget_slices (
  zone text COLLATE "C" NOT NULL,
  budget text COLLATE "C" NOT NULL,
  point text COLLATE "C" NOT NULL,
  amount numeric(20) NOT NULL CHECK (amount >= 0),
  -- Of what its holder asked the last that was heard: what was sent before and comes after it changes nothing.
  turn bigint NOT NULL,
  -- Nothing is spent of it after this moment.
  expires_at timestamptz NOT NULL,
  -- Who has not said by then what was spent of it is not waited for any more.
  lost_at timestamptz NOT NULL,
  PRIMARY KEY (budget, point),
  FOREIGN KEY (zone, budget) REFERENCES budgets (zone, id)
);
CREATE INDEX budget_slices_lost ON budget_slices (lost_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON budget_slices TO caracal_sts;

ALTER TABLE budget_slices ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON budget_slices TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY in_zone ON budget_slices TO caracal_api, caracal_sts, caracal_audit, caracal_coordinator
  USING (zone = current_setting('caracal.zone', true)) WITH CHECK (zone = current_setting('caracal.zone', true));

-- Two more looks of the STS across zones. They give ids; each is changed within its zone.
CREATE FUNCTION caracal_slices_lost(moment timestamptz, most integer) RETURNS TABLE (zone text, budget text, point text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT s.zone, s.budget, s.point FROM budget_slices AS s WHERE s.lost_at <= moment ORDER BY s.lost_at LIMIT most
$$;
-- Usage of calls that were let through before this moment, zone by zone along its index.
CREATE FUNCTION caracal_usage_before(moment timestamptz, most integer) RETURNS TABLE (zone text, request text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT z.id, u.request FROM zones AS z CROSS JOIN LATERAL (
    SELECT o.request FROM usage AS o WHERE o.zone = z.id AND o.at < moment ORDER BY o.at LIMIT most) AS u LIMIT most
$$;
REVOKE ALL ON FUNCTION caracal_slices_lost(timestamptz, integer), caracal_usage_before(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION caracal_slices_lost(timestamptz, integer), caracal_usage_before(timestamptz, integer) TO caracal_sts;
