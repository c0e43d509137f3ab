-- The last reconciliation, so that one replica makes it and all of them show it.
CREATE TABLE wallet_reconciliation (
    single     boolean     NOT NULL DEFAULT true,
    checked_at timestamptz NOT NULL, -- no later than the moment that it shows
    report     jsonb       NOT NULL,
    CONSTRAINT wallet_reconciliation_single PRIMARY KEY (single),
    CONSTRAINT wallet_reconciliation_is_one CHECK (single)
);
