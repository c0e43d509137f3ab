-- Events that are committed and not yet published. A row lives for a fraction of a second; the relay deletes what it has published.
CREATE TABLE tidegate.outbox (
    shard          smallint         NOT NULL, -- by the key's hash; a shard has one publisher at a time
    transaction_id xid8             NOT NULL DEFAULT pg_current_xact_id(),
    id             bigint           NOT NULL GENERATED ALWAYS AS IDENTITY,
    topic          text COLLATE "C" NOT NULL,
    key            bytea            NOT NULL,
    headers        jsonb            NOT NULL, -- [[name, value], ...]
    payload        bytea            NOT NULL,
    created_at     timestamptz      NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT outbox_order PRIMARY KEY (shard, transaction_id, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Who publishes a shard, as far as liveness goes: an owner that stops renewing is replaced. Safety does not rest on it but on the
-- fencing of the shard's transactional.id.
CREATE TABLE tidegate.outbox_leases (
    shard      smallint    NOT NULL,
    owner      uuid        NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT outbox_leases_shard PRIMARY KEY (shard)
);
