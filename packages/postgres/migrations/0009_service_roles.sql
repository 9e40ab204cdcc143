-- phase: expand
-- Each service acts as a role of its own, with the grants it needs, and sees of zone tables the rows of the zone it works for (P-132).

-- Roles belong to the whole server: another database of it may have made them, or may be making them now. Nobody logs in as them;
-- the login of the services is made a member of each and acts as one. A login per service is a member of its own only.
DO $$
DECLARE
  service text;
BEGIN
  FOREACH service IN ARRAY ARRAY['caracal_api', 'caracal_sts', 'caracal_audit', 'caracal_coordinator'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = service) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', service);
      EXCEPTION
        WHEN duplicate_object OR unique_violation THEN NULL;
        WHEN insufficient_privilege THEN
          RAISE EXCEPTION '% may not create the role %', current_user, service USING
            ERRCODE = 'insufficient_privilege',
            HINT = format('Let somebody with CREATEROLE run: CREATE ROLE %I NOLOGIN NOINHERIT; GRANT %I TO %I;', service, service, current_user);
      END;
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AND NOT EXISTS (
      SELECT FROM pg_auth_members WHERE roleid = service::regrole AND member = current_user::regrole
        AND (current_setting('server_version_num')::integer < 160000 OR to_jsonb(pg_auth_members) ->> 'set_option' = 'true')
    ) THEN
      BEGIN
        EXECUTE format('GRANT %I TO CURRENT_USER', service);
      EXCEPTION WHEN insufficient_privilege THEN
        RAISE NOTICE 'services that log in as % cannot act as %: let somebody run GRANT % TO %', current_user, service, service, current_user;
      END;
    END IF;
  END LOOP;
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO caracal_api, caracal_sts, caracal_audit, caracal_coordinator', current_schema());
END $$;

-- What every service does: know the schema, write the outbox and empty it, use the streams that stand in Postgres.
GRANT SELECT ON schema_migrations, schema_floor TO caracal_api, caracal_sts, caracal_audit, caracal_coordinator;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, outbox_unconfirmed, stream_heads, stream_broadcasts, stream_work, stream_quarantine, stream_claims
  TO caracal_api, caracal_sts, caracal_audit, caracal_coordinator;

GRANT SELECT, INSERT, UPDATE ON zones, applications, providers, resources, policies, policy_sets, policy_heads, admin_tokens, revocations
  TO caracal_api;
GRANT SELECT, INSERT ON policy_versions, policy_set_versions, policy_activations TO caracal_api;
GRANT SELECT, INSERT, DELETE ON application_credentials TO caracal_api;
GRANT SELECT, UPDATE ON sessions, delegations TO caracal_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_receipts TO caracal_api;
GRANT SELECT ON zone_keys, policy_replicas, log_heads, log_blocks TO caracal_api;

GRANT SELECT ON zones, applications, application_credentials, providers, resources, policy_versions, policy_set_versions, policy_heads,
  sessions, delegations TO caracal_sts;
GRANT UPDATE ON zones TO caracal_sts;
GRANT SELECT, INSERT, UPDATE ON settings, zone_keys, revocations, policy_replicas TO caracal_sts;

GRANT SELECT, INSERT, UPDATE ON zone_keys, log_heads, log_tiles, evidence_producers TO caracal_audit;
GRANT SELECT, INSERT ON log_blocks, log_checkpoints TO caracal_audit;
GRANT SELECT ON zones, policy_heads, policy_versions, policy_set_versions, policy_activations, admin_tokens TO caracal_audit;

GRANT SELECT, INSERT, UPDATE ON sessions, delegations, revocations, policy_replicas TO caracal_coordinator;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_receipts TO caracal_coordinator;
GRANT SELECT ON zones, zone_keys, applications, application_credentials, providers, resources, policy_versions, policy_set_versions,
  policy_heads, admin_tokens TO caracal_coordinator;

-- A service sees and writes rows of the zone that its transaction names in `caracal.zone`; of none when it names none. No value of it
-- means every zone. The owner, who migrates, sees all rows by a policy that names it: data that a migration moves must be whole.
DO $$
DECLARE
  held record;
BEGIN
  FOR held IN SELECT * FROM (VALUES
    ('zones', 'id'), ('zone_keys', 'zone'), ('applications', 'zone'), ('application_credentials', 'zone'), ('providers', 'zone'),
    ('resources', 'zone'), ('policies', 'zone'), ('policy_versions', 'zone'), ('policy_sets', 'zone'), ('policy_set_versions', 'zone'),
    ('policy_heads', 'zone'), ('policy_activations', 'zone'), ('policy_replicas', 'zone'), ('sessions', 'zone'), ('delegations', 'zone'),
    ('revocations', 'zone'), ('admin_tokens', 'zone'), ('log_heads', 'zone'), ('log_blocks', 'zone'), ('log_tiles', 'zone'),
    ('log_checkpoints', 'zone')) AS one (name, column_name)
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', held.name);
    EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', held.name);
    EXECUTE format($policy$CREATE POLICY in_zone ON %I TO caracal_api, caracal_sts, caracal_audit, caracal_coordinator
      USING (%2$I = current_setting('caracal.zone', true)) WITH CHECK (%2$I = current_setting('caracal.zone', true))$policy$,
      held.name, held.column_name);
  END LOOP;
END $$;

-- Who works across zones, and on what. Names and versions of zones are known to every service: requests name zones.
CREATE POLICY every_zone ON zones FOR SELECT TO caracal_api, caracal_sts, caracal_audit, caracal_coordinator USING (true);
-- A token is known before the zone that it is for; one without a zone is for all of them and made in none.
CREATE POLICY every_zone ON admin_tokens FOR SELECT TO caracal_api, caracal_audit, caracal_coordinator USING (true);
CREATE POLICY of_no_zone ON admin_tokens TO caracal_api USING (zone IS NULL) WITH CHECK (zone IS NULL);
-- The list of zones says which are revoked.
CREATE POLICY zones_that_ended ON revocations FOR SELECT TO caracal_api USING (kind = 'zone');
-- STS and Coordinator hold the configuration and the revocations of every zone in memory. They read them so; they write within a zone.
CREATE POLICY every_zone ON zone_keys FOR SELECT TO caracal_sts, caracal_coordinator USING (true);
CREATE POLICY every_zone ON applications FOR SELECT TO caracal_sts, caracal_coordinator USING (true);
CREATE POLICY every_zone ON application_credentials FOR SELECT TO caracal_sts, caracal_coordinator USING (true);
CREATE POLICY every_zone ON providers FOR SELECT TO caracal_sts, caracal_coordinator USING (true);
CREATE POLICY every_zone ON resources FOR SELECT TO caracal_sts, caracal_coordinator USING (true);
CREATE POLICY every_zone ON policy_versions FOR SELECT TO caracal_sts, caracal_coordinator USING (true);
CREATE POLICY every_zone ON policy_set_versions FOR SELECT TO caracal_sts, caracal_coordinator USING (true);
CREATE POLICY every_zone ON policy_heads FOR SELECT TO caracal_sts, caracal_coordinator, caracal_audit USING (true);
CREATE POLICY every_zone ON revocations FOR SELECT TO caracal_sts, caracal_coordinator USING (true);
-- A replica reports what it serves of all zones in one statement.
CREATE POLICY reports ON policy_replicas TO caracal_sts, caracal_coordinator USING (true) WITH CHECK (true);
-- Audit looks which zones and logs there are; the version of a zone names its active policy.
CREATE POLICY every_zone ON log_heads FOR SELECT TO caracal_audit USING (true);

-- Looking into arrays is not leakproof, so that Postgres would not use an index for it below a policy. These functions of the owner do,
-- keep to the zone of the transaction themselves, and give ids or the blocks of that zone. The owner itself may ask about any zone.
CREATE FUNCTION caracal_is_about(asked text) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT coalesce(asked = current_setting('caracal.zone', true), false) OR current_setting('role') = 'none' AND session_user = current_user
$$;
CREATE FUNCTION caracal_sessions_under(asked text, roots text[]) RETURNS text[] LANGUAGE plpgsql STABLE SECURITY DEFINER
  SET search_path FROM CURRENT AS $$
BEGIN
  RETURN array(SELECT id FROM sessions WHERE lineage && roots AND zone = asked AND caracal_is_about(asked));
END $$;
CREATE FUNCTION caracal_delegations_under(asked text, roots text[]) RETURNS text[] LANGUAGE plpgsql STABLE SECURITY DEFINER
  SET search_path FROM CURRENT AS $$
BEGIN
  RETURN array(SELECT id FROM delegations WHERE lineage && roots AND zone = asked AND caracal_is_about(asked));
END $$;
CREATE FUNCTION caracal_delegations_from(asked text, origins text[]) RETURNS text[] LANGUAGE plpgsql STABLE SECURITY DEFINER
  SET search_path FROM CURRENT AS $$
BEGIN
  RETURN array(SELECT id FROM delegations WHERE from_lineage && origins AND zone = asked AND caracal_is_about(asked));
END $$;
CREATE FUNCTION caracal_blocks_of_zone(asked text, wanted text[]) RETURNS SETOF log_blocks LANGUAGE sql STABLE ROWS 100 SECURITY DEFINER
  SET enable_seqscan = off SET search_path FROM CURRENT AS $$
  SELECT found.* FROM unnest(wanted) AS one (terms) CROSS JOIN LATERAL (
    SELECT * FROM log_blocks WHERE terms @> one.terms::bigint[] AND zone = asked AND caracal_is_about(asked)
  ) AS found
$$;
-- The one look of the Coordinator across zones: which sessions are over. It gives ids; each is ended within its zone.
CREATE FUNCTION caracal_sessions_due(moment timestamptz, most integer) RETURNS TABLE (zone text, id text) LANGUAGE sql STABLE
  SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT zone, id FROM (
    (SELECT s.zone, s.id, s.expires_at AS over FROM sessions AS s WHERE s.state <> 'ended' AND s.expires_at <= moment ORDER BY s.expires_at LIMIT most)
    UNION ALL
    (SELECT s.zone, s.id, s.lease_expires_at FROM sessions AS s
      WHERE s.state <> 'ended' AND s.lease_expires_at IS NOT NULL AND s.lease_expires_at <= moment ORDER BY s.lease_expires_at LIMIT most)
  ) AS due GROUP BY zone, id ORDER BY min(over) LIMIT most
$$;
REVOKE ALL ON FUNCTION caracal_sessions_under(text, text[]), caracal_delegations_under(text, text[]), caracal_delegations_from(text, text[]),
  caracal_blocks_of_zone(text, text[]), caracal_sessions_due(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION caracal_sessions_under(text, text[]), caracal_delegations_under(text, text[]), caracal_delegations_from(text, text[])
  TO caracal_api, caracal_coordinator;
GRANT EXECUTE ON FUNCTION caracal_blocks_of_zone(text, text[]) TO caracal_api, caracal_audit;
GRANT EXECUTE ON FUNCTION caracal_sessions_due(timestamptz, integer) TO caracal_coordinator;
