-- The tables of a wallet as a textbook has them, with the columns and indexes that the real one has for a transfer.
CREATE TABLE wallet_state (
    wallet_id  text COLLATE "C" PRIMARY KEY,
    version    bigint           NOT NULL,
    balance    bigint           NOT NULL,
    updated_at timestamptz      NOT NULL
);
CREATE TABLE wallet_events (
    wallet_id      text COLLATE "C" NOT NULL,
    version        bigint           NOT NULL,
    event_id       uuid             NOT NULL UNIQUE,
    event_type     text             NOT NULL,
    occurred_at    timestamptz      NOT NULL,
    transaction_id uuid             NOT NULL,
    data           jsonb            NOT NULL,
    PRIMARY KEY (wallet_id, version)
);
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic      text        NOT NULL,
    key        bytea       NOT NULL,
    headers    jsonb       NOT NULL,
    payload    bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
