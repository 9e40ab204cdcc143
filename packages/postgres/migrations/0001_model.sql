-- phase: expand
-- The model: zones and what they hold, sessions and delegations, revocations, tokens, receipts, outbox.
-- Ids, names and cursors compare by bytes (COLLATE "C") so that every server gives one order.

CREATE FUNCTION caracal_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

-- Facts that are pinned at first use, such as the issuer.
CREATE TABLE settings (
  name text COLLATE "C" PRIMARY KEY,
  value jsonb NOT NULL,
  updated_at timestamptz NOT NULL
);

CREATE TABLE zones (
  id text COLLATE "C" PRIMARY KEY,
  name text COLLATE "C" NOT NULL,
  labels text[] NOT NULL DEFAULT '{}',
  config_version bigint NOT NULL DEFAULT 1,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  archived_at timestamptz
);
CREATE UNIQUE INDEX zones_name ON zones (name) WHERE archived_at IS NULL;

-- Signing keys, the pepper of client secrets, the log key. `sealed` opens only with the key-encryption keys of STS and Audit.
CREATE TABLE zone_keys (
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  kind text NOT NULL CHECK (kind IN ('signing', 'pepper', 'log')),
  kid text COLLATE "C" NOT NULL,
  state text NOT NULL CHECK (state IN ('next', 'current', 'previous', 'retired')),
  public_jwk jsonb,
  sealed text NOT NULL,
  created_at timestamptz NOT NULL,
  activates_at timestamptz NOT NULL,
  retires_at timestamptz,
  PRIMARY KEY (zone, kind, kid),
  CHECK ((kind = 'pepper') = (public_jwk IS NULL))
);
CREATE UNIQUE INDEX zone_keys_one_current ON zone_keys (zone, kind) WHERE state = 'current';
CREATE UNIQUE INDEX zone_keys_one_next ON zone_keys (zone, kind) WHERE state = 'next';

CREATE TABLE applications (
  id text COLLATE "C" PRIMARY KEY,
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  name text COLLATE "C" NOT NULL,
  labels text[] NOT NULL DEFAULT '{}',
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  archived_at timestamptz,
  UNIQUE (zone, id)
);
CREATE UNIQUE INDEX applications_name ON applications (zone, name) WHERE archived_at IS NULL;

CREATE TABLE application_credentials (
  id text COLLATE "C" PRIMARY KEY,
  zone text COLLATE "C" NOT NULL,
  application text COLLATE "C" NOT NULL,
  kind text NOT NULL CHECK (kind IN ('secret', 'jwk')),
  digest text,
  jwk jsonb,
  created_at timestamptz NOT NULL,
  expires_at timestamptz,
  FOREIGN KEY (zone, application) REFERENCES applications (zone, id),
  CHECK ((kind = 'secret') = (digest IS NOT NULL) AND (kind = 'jwk') = (jwk IS NOT NULL))
);
CREATE INDEX application_credentials_application ON application_credentials (zone, application);

-- `method` is the whole ProviderMethod. `sealed_version` is bound into the envelope's additional data.
CREATE TABLE providers (
  id text COLLATE "C" PRIMARY KEY,
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  name text COLLATE "C" NOT NULL,
  hosts text[] NOT NULL,
  method jsonb NOT NULL,
  sealed_secret text,
  sealed_version integer,
  expires_at timestamptz,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  archived_at timestamptz,
  UNIQUE (zone, id),
  CHECK ((sealed_secret IS NULL) = (sealed_version IS NULL))
);
CREATE UNIQUE INDEX providers_name ON providers (zone, name) WHERE archived_at IS NULL;

CREATE TABLE resources (
  id text COLLATE "C" PRIMARY KEY,
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  name text COLLATE "C" NOT NULL,
  kind text NOT NULL CHECK (kind IN ('http', 'mcp')),
  identifier text COLLATE "C" NOT NULL,
  upstream text NOT NULL,
  scopes text[] NOT NULL,
  operations jsonb NOT NULL,
  provider text COLLATE "C",
  mandate_life integer NOT NULL CHECK (mandate_life > 0),
  once boolean NOT NULL,
  egress_allow text[] NOT NULL,
  encoded_separators text NOT NULL CHECK (encoded_separators IN ('refuse', 'literal')),
  max_body_bytes bigint NOT NULL CHECK (max_body_bytes >= 0),
  timeouts jsonb NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  archived_at timestamptz,
  UNIQUE (zone, id),
  FOREIGN KEY (zone, provider) REFERENCES providers (zone, id)
);
CREATE UNIQUE INDEX resources_name ON resources (zone, name) WHERE archived_at IS NULL;
CREATE UNIQUE INDEX resources_identifier ON resources (zone, identifier) WHERE archived_at IS NULL;
CREATE INDEX resources_provider ON resources (zone, provider) WHERE provider IS NOT NULL;

CREATE TABLE policies (
  id text COLLATE "C" PRIMARY KEY,
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  name text COLLATE "C" NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  archived_at timestamptz,
  UNIQUE (zone, id)
);
CREATE UNIQUE INDEX policies_name ON policies (zone, name) WHERE archived_at IS NULL;

-- `source` is what was written; `canonical` its RFC 8785 form, whose SHA-256 (hex) names the version.
CREATE TABLE policy_versions (
  id text COLLATE "C" PRIMARY KEY,
  zone text COLLATE "C" NOT NULL,
  policy text COLLATE "C" NOT NULL,
  number integer NOT NULL,
  source text NOT NULL,
  canonical text NOT NULL,
  sha256 text NOT NULL,
  created_at timestamptz NOT NULL,
  created_by text NOT NULL,
  UNIQUE (zone, id),
  UNIQUE (policy, number),
  UNIQUE (policy, sha256),
  FOREIGN KEY (zone, policy) REFERENCES policies (zone, id)
);

CREATE TABLE policy_sets (
  id text COLLATE "C" PRIMARY KEY,
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  name text COLLATE "C" NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  archived_at timestamptz,
  UNIQUE (zone, id)
);
CREATE UNIQUE INDEX policy_sets_name ON policy_sets (zone, name) WHERE archived_at IS NULL;

-- `members`: [{policy, version, sha256}], ordered by policy id.
CREATE TABLE policy_set_versions (
  id text COLLATE "C" PRIMARY KEY,
  zone text COLLATE "C" NOT NULL,
  policy_set text COLLATE "C" NOT NULL,
  number integer NOT NULL,
  members jsonb NOT NULL,
  sha256 text NOT NULL,
  created_at timestamptz NOT NULL,
  created_by text NOT NULL,
  UNIQUE (zone, id),
  UNIQUE (policy_set, number),
  FOREIGN KEY (zone, policy_set) REFERENCES policy_sets (zone, id)
);

-- The one active set version of a zone; `generation` is what compare-and-swap compares.
CREATE TABLE policy_heads (
  zone text COLLATE "C" PRIMARY KEY REFERENCES zones (id),
  set_version text COLLATE "C" NOT NULL,
  generation bigint NOT NULL,
  activated_at timestamptz NOT NULL,
  activated_by text NOT NULL,
  FOREIGN KEY (zone, set_version) REFERENCES policy_set_versions (zone, id)
);

CREATE TABLE policy_activations (
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  generation bigint NOT NULL,
  set_version text COLLATE "C" NOT NULL,
  previous text COLLATE "C",
  activated_at timestamptz NOT NULL,
  activated_by text NOT NULL,
  PRIMARY KEY (zone, generation),
  FOREIGN KEY (zone, set_version) REFERENCES policy_set_versions (zone, id),
  FOREIGN KEY (zone, previous) REFERENCES policy_set_versions (zone, id)
);

-- What each replica serves; a row is forgotten when its replica is silent.
CREATE TABLE policy_replicas (
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  replica text COLLATE "C" NOT NULL,
  role text NOT NULL,
  set_version text COLLATE "C",
  config_version bigint NOT NULL,
  error text,
  seen_at timestamptz NOT NULL,
  PRIMARY KEY (zone, replica)
);
CREATE INDEX policy_replicas_seen ON policy_replicas (seen_at);

CREATE TRIGGER policy_versions_immutable BEFORE UPDATE OR DELETE ON policy_versions FOR EACH ROW EXECUTE FUNCTION caracal_refuse_change();
CREATE TRIGGER policy_versions_kept BEFORE TRUNCATE ON policy_versions FOR EACH STATEMENT EXECUTE FUNCTION caracal_refuse_change();
CREATE TRIGGER policy_set_versions_immutable BEFORE UPDATE OR DELETE ON policy_set_versions FOR EACH ROW EXECUTE FUNCTION caracal_refuse_change();
CREATE TRIGGER policy_set_versions_kept BEFORE TRUNCATE ON policy_set_versions FOR EACH STATEMENT EXECUTE FUNCTION caracal_refuse_change();
CREATE TRIGGER policy_activations_immutable BEFORE UPDATE OR DELETE ON policy_activations FOR EACH ROW EXECUTE FUNCTION caracal_refuse_change();
CREATE TRIGGER policy_activations_kept BEFORE TRUNCATE ON policy_activations FOR EACH STATEMENT EXECUTE FUNCTION caracal_refuse_change();

-- `held`: suspended itself, as opposed to through one above it. `lineage` is root to self, self included.
CREATE TABLE sessions (
  id text COLLATE "C" PRIMARY KEY,
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  application text COLLATE "C" NOT NULL,
  kind text NOT NULL CHECK (kind IN ('task', 'service')),
  parent text COLLATE "C",
  lineage text[] NOT NULL CHECK (cardinality(lineage) BETWEEN 1 AND 10),
  labels text[] NOT NULL DEFAULT '{}',
  subject text COLLATE "C",
  state text NOT NULL CHECK (state IN ('active', 'suspended', 'ended')),
  held boolean NOT NULL DEFAULT false,
  expires_at timestamptz NOT NULL,
  lease_generation integer,
  lease_expires_at timestamptz,
  ended_at timestamptz,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  UNIQUE (zone, id),
  FOREIGN KEY (zone, application) REFERENCES applications (zone, id),
  FOREIGN KEY (zone, parent) REFERENCES sessions (zone, id),
  CHECK ((kind = 'service') = (lease_generation IS NOT NULL) AND (lease_generation IS NULL) = (lease_expires_at IS NULL)),
  CHECK ((state = 'ended') = (ended_at IS NOT NULL))
);
CREATE INDEX sessions_lineage ON sessions USING gin (lineage);
CREATE INDEX sessions_parent ON sessions (parent) WHERE parent IS NOT NULL;
CREATE INDEX sessions_live ON sessions (zone, application) WHERE state <> 'ended';
CREATE INDEX sessions_due ON sessions (expires_at) WHERE state <> 'ended';
CREATE INDEX sessions_lease_due ON sessions (lease_expires_at) WHERE state <> 'ended' AND lease_expires_at IS NOT NULL;

CREATE TABLE delegations (
  id text COLLATE "C" PRIMARY KEY,
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  from_session text COLLATE "C" NOT NULL,
  from_application text COLLATE "C" NOT NULL,
  from_lineage text[] NOT NULL,
  to_application text COLLATE "C" NOT NULL,
  to_session text COLLATE "C",
  parent text COLLATE "C",
  lineage text[] NOT NULL CHECK (cardinality(lineage) BETWEEN 1 AND 10),
  grants jsonb NOT NULL,
  hops integer NOT NULL CHECK (hops BETWEEN 0 AND 9),
  state text NOT NULL CHECK (state IN ('offered', 'active', 'revoked')),
  expires_at timestamptz NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  UNIQUE (zone, id),
  FOREIGN KEY (zone, from_session) REFERENCES sessions (zone, id),
  FOREIGN KEY (zone, from_application) REFERENCES applications (zone, id),
  FOREIGN KEY (zone, to_session) REFERENCES sessions (zone, id),
  FOREIGN KEY (zone, to_application) REFERENCES applications (zone, id),
  FOREIGN KEY (zone, parent) REFERENCES delegations (zone, id),
  CHECK (state <> 'active' OR to_session IS NOT NULL)
);
CREATE INDEX delegations_lineage ON delegations USING gin (lineage);
CREATE INDEX delegations_from_lineage ON delegations USING gin (from_lineage);
CREATE INDEX delegations_to_session ON delegations (to_session) WHERE to_session IS NOT NULL;
CREATE INDEX delegations_from_live ON delegations (zone, from_application) WHERE state <> 'revoked';
CREATE INDEX delegations_to_live ON delegations (zone, to_application) WHERE state <> 'revoked';

-- A row revokes `target`; lifting (of suspensions only) marks the row, a later revocation is another row.
CREATE TABLE revocations (
  id text COLLATE "C" PRIMARY KEY,
  zone text COLLATE "C" NOT NULL REFERENCES zones (id),
  kind text NOT NULL,
  target text COLLATE "C" NOT NULL,
  at timestamptz NOT NULL,
  reason text NOT NULL,
  revoked_by text NOT NULL,
  lifted_at timestamptz,
  lifted_by text,
  CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
);
CREATE UNIQUE INDEX revocations_one_active ON revocations (zone, kind, target) WHERE lifted_at IS NULL;
CREATE INDEX revocations_at ON revocations (at);
CREATE INDEX revocations_lifted_at ON revocations (lifted_at) WHERE lifted_at IS NOT NULL;

-- `digest`: SHA-256 (hex) of a token of 256 random bits, which needs no pepper.
CREATE TABLE admin_tokens (
  id text COLLATE "C" PRIMARY KEY,
  name text COLLATE "C" NOT NULL,
  digest text COLLATE "C" NOT NULL UNIQUE,
  roles text[] NOT NULL CHECK (cardinality(roles) > 0),
  zone text COLLATE "C" REFERENCES zones (id),
  created_at timestamptz NOT NULL,
  created_by text NOT NULL,
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz
);
CREATE UNIQUE INDEX admin_tokens_name ON admin_tokens (name) WHERE revoked_at IS NULL;

-- A claim (`status` null) is in flight until `expires_at`; an answered receipt is replayed until then.
CREATE TABLE idempotency_receipts (
  principal text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  request_sha256 text NOT NULL,
  status integer,
  headers jsonb,
  body text,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_receipts_expiry ON idempotency_receipts (expires_at);

-- Written in the transaction of the change; published, in order per aggregate, by the dispatcher.
CREATE TABLE outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  stream text COLLATE "C" NOT NULL,
  aggregate text COLLATE "C" NOT NULL,
  payload text NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  available_at timestamptz NOT NULL DEFAULT now(),
  dead_at timestamptz,
  dead_reason text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_aggregate ON outbox (stream, aggregate, id) WHERE dead_at IS NULL;
CREATE INDEX outbox_dead ON outbox (dead_at) WHERE dead_at IS NOT NULL;

CREATE FUNCTION caracal_outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('caracal_outbox', '');
  RETURN NULL;
END $$;
CREATE TRIGGER outbox_wake AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION caracal_outbox_wake();
