-- What every service's database has: the outbox, the readers' checkpoints, the answers kept for repetitions.

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    topic text NOT NULL,
    key text NOT NULL,
    tags text[] NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Readers go on from their checkpoint.
CREATE INDEX outbox_xid_id_idx ON outbox (xid, id);

-- Compaction: rows older than a week, and whether their key has a newer one.
CREATE INDEX outbox_created_at_idx ON outbox (created_at);
CREATE INDEX outbox_topic_key_id_idx ON outbox (topic, key, id);

CREATE TABLE event_checkpoints (
    source text PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT '0',
    id bigint NOT NULL DEFAULT 0,
    leased_by text,
    leased_until timestamptz,
    updated_at timestamptz
);

CREATE TABLE idempotency_keys (
    owner text NOT NULL,
    key_hash bytea NOT NULL,
    fingerprint bytea NOT NULL,
    status smallint NOT NULL,
    answer bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, key_hash)
);

-- The hourly upkeep forgets what is older than a day.
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);
