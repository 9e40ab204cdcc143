-- phase: expand
-- Keys with which applications prove themselves to enforcement points that take no mandates: API keys and names of certificates.

-- `digest`: SHA-256 (hex) of an API key of 256 random bits, which needs no pepper. `certificate`: what of a verified certificate names
-- the application. A revoked key stays, so that its name in the evidence can be looked up.
CREATE TABLE application_keys (
  id text COLLATE "C" PRIMARY KEY,
  zone text COLLATE "C" NOT NULL,
  application text COLLATE "C" NOT NULL,
  kind text NOT NULL CHECK (kind IN ('api_key', 'certificate')),
  name text COLLATE "C" NOT NULL,
  digest text COLLATE "C",
  certificate text COLLATE "C",
  created_at timestamptz NOT NULL,
  expires_at timestamptz,
  revoked_at timestamptz,
  FOREIGN KEY (zone, application) REFERENCES applications (zone, id),
  CHECK ((kind = 'api_key') = (digest IS NOT NULL) AND (kind = 'certificate') = (certificate IS NOT NULL))
);
CREATE INDEX application_keys_application ON application_keys (zone, application);
CREATE UNIQUE INDEX application_keys_name ON application_keys (zone, application, name) WHERE revoked_at IS NULL;
-- One certificate is one application of a zone.
CREATE UNIQUE INDEX application_keys_certificate ON application_keys (zone, certificate) WHERE revoked_at IS NULL;

GRANT SELECT, INSERT, UPDATE ON application_keys TO caracal_api;
GRANT SELECT ON application_keys TO caracal_sts, caracal_coordinator;

ALTER TABLE application_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON application_keys TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY in_zone ON application_keys TO caracal_api, caracal_sts, caracal_audit, caracal_coordinator
  USING (zone = current_setting('caracal.zone', true)) WITH CHECK (zone = current_setting('caracal.zone', true));
-- They hold the configuration of every zone in memory.
CREATE POLICY every_zone ON application_keys FOR SELECT TO caracal_sts, caracal_coordinator USING (true);
