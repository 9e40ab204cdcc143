-- phase: expand
-- Evidence that left the outbox and that the ledger has not confirmed: the stream store may lose what it acknowledged.

-- Written in the transaction that takes the row out of the outbox; removed by Audit once the ledger holds the event; published again
-- by the dispatcher when it is missed. The digest is the SHA-256 of the payload.
CREATE TABLE outbox_unconfirmed (
  digest bytea PRIMARY KEY,
  stream text COLLATE "C" NOT NULL,
  aggregate text COLLATE "C" NOT NULL,
  payload text NOT NULL,
  sent_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_unconfirmed_sent ON outbox_unconfirmed (sent_at);
