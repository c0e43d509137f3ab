-- What commands decide on and what they decided. Written by role Commands only, in one transaction with the outbox.
-- Wallet ids compare by their bytes, so that the order here, in the process and in every locale is one order.

-- The event store: a stream a wallet, versions 1..n. The primary key is the last word on concurrent writers.
CREATE TABLE wallet_events (
    wallet_id      text COLLATE "C" NOT NULL,
    version        bigint           NOT NULL,
    event_id       uuid             NOT NULL,
    event_type     text             NOT NULL,
    occurred_at    timestamptz(3)   NOT NULL,
    correlation_id uuid             NOT NULL,
    causation_id   uuid,
    transaction_id uuid,                     -- of the movement of money; null when none moved
    data           jsonb            NOT NULL, -- the event's data as it is on the topic
    CONSTRAINT wallet_events_stream_version PRIMARY KEY (wallet_id, version),
    CONSTRAINT wallet_events_event_id UNIQUE (event_id),
    CONSTRAINT wallet_events_version_positive CHECK (version >= 1)
);

-- The fold of each stream, which the next command is decided on.
CREATE TABLE wallet_state (
    wallet_id text COLLATE "C" NOT NULL,
    version   bigint           NOT NULL,
    owner_id  text             NOT NULL,
    currency  text             NOT NULL,
    balance   bigint           NOT NULL, -- minor units of the currency
    opened_at timestamptz(3)   NOT NULL,
    updated_at timestamptz(3)  NOT NULL,
    CONSTRAINT wallet_state_wallet_id PRIMARY KEY (wallet_id),
    CONSTRAINT wallet_state_version_positive CHECK (version >= 1)
);

-- One answer a key: the request's hash tells a repetition from a reuse, the answer is given again as it was.
CREATE TABLE idempotency_keys (
    key          text COLLATE "C" NOT NULL,
    request_hash bytea            NOT NULL, -- SHA-256 of method, path and body
    status       smallint         NOT NULL, -- HTTP
    body         text             NOT NULL,
    created_at   timestamptz(3)   NOT NULL,
    CONSTRAINT idempotency_keys_key PRIMARY KEY (key)
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
