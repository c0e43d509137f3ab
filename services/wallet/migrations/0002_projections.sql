-- What projectors make of the topic. Each table is written by one role, in one transaction with that role's offsets.

-- Double entry: the entries of an event sum to zero, therefore those of a transaction do (docs/adr, ledger accounts).
CREATE TABLE ledger_entries (
    wallet_id      text COLLATE "C" NOT NULL, -- the stream that the event belongs to
    version        bigint           NOT NULL,
    line           smallint         NOT NULL, -- 1: the wallet's side, 2: the counter-account's
    event_id       uuid             NOT NULL,
    event_type     text             NOT NULL,
    transaction_id uuid             NOT NULL,
    account        text COLLATE "C" NOT NULL, -- a wallet's id, or external:<currency>, or transit:<currency>
    account_kind   text             NOT NULL,
    currency       text             NOT NULL,
    amount         bigint           NOT NULL, -- minor units; a credit to the account is positive
    balance        bigint,                    -- of the wallet after the event; null on the counter-account's line
    counterparty   text COLLATE "C",          -- the other wallet of a transfer
    reference      text,
    occurred_at    timestamptz(3)   NOT NULL,
    CONSTRAINT ledger_entries_line PRIMARY KEY (wallet_id, version, line),
    CONSTRAINT ledger_entries_account_kind CHECK (account_kind IN ('Wallet', 'External', 'Transit')),
    CONSTRAINT ledger_entries_amount_not_zero CHECK (amount <> 0)
);
CREATE INDEX ledger_entries_transaction ON ledger_entries (transaction_id);

-- How far the ledger has seen each stream. A row a wallet, never one a record.
CREATE TABLE ledger_watermarks (
    wallet_id text COLLATE "C" NOT NULL,
    version   bigint           NOT NULL,
    CONSTRAINT ledger_watermarks_wallet_id PRIMARY KEY (wallet_id)
);

-- One row a wallet, which queries answer from; its version is also the watermark of its stream.
CREATE TABLE wallet_read_model (
    wallet_id  text COLLATE "C" NOT NULL,
    version    bigint           NOT NULL,
    owner_id   text             NOT NULL,
    currency   text             NOT NULL,
    balance    bigint           NOT NULL, -- minor units of the currency
    opened_at  timestamptz(3)   NOT NULL,
    updated_at timestamptz(3)   NOT NULL,
    CONSTRAINT wallet_read_model_wallet_id PRIMARY KEY (wallet_id)
);
