-- phase: expand
-- Whether an applied secret is another one shows without opening the sealed one: a digest keyed by the zone's pepper.

-- Null: not known yet; the next apply that brings the secret seals it anew and writes it.
ALTER TABLE providers ADD COLUMN secret_digest text;
ALTER TABLE providers ADD CONSTRAINT providers_secret_digest CHECK (secret_digest IS NULL OR sealed_secret IS NOT NULL);
