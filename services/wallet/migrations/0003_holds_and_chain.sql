-- Money on hold, and the hash chain of each wallet's events. A build from before these columns may still be writing while this one
-- starts: it leaves them as they are, and what it leaves open is completed at the wallet's next event or by this build's start.

ALTER TABLE wallet_state
    ADD COLUMN held    bigint NOT NULL DEFAULT 0, -- minor units of the currency; part of the balance
    ADD COLUMN chained bigint NOT NULL DEFAULT 0, -- the version up to which events have hashes: `version`, but for old builds
    ADD COLUMN head    bytea,                     -- the hash of that event; null where none has one
    ADD CONSTRAINT wallet_state_held_not_negative CHECK (held >= 0);

ALTER TABLE wallet_events
    ADD COLUMN hash bytea; -- SHA-256 of the event and the hash before it; null behind wallet_state.chained

-- Every hold that there ever was. Which were open at a version of their wallet follows from the versions at which they began and ended.
CREATE TABLE wallet_holds (
    hold_id     uuid             NOT NULL,
    wallet_id   text COLLATE "C" NOT NULL,
    placed      bigint           NOT NULL, -- the wallet's version that placed it
    settled     bigint,                    -- the wallet's version that captured or released it; null while it is open
    currency    text             NOT NULL,
    amount      bigint           NOT NULL, -- minor units of the currency
    captured    bigint,                    -- how much left; 0 when it was released, null while it is open
    captured_to text COLLATE "C",          -- the wallet that it went to; null if it left to the outside
    reference   text,
    CONSTRAINT wallet_holds_hold_id PRIMARY KEY (hold_id),
    CONSTRAINT wallet_holds_amount_positive CHECK (amount > 0),
    CONSTRAINT wallet_holds_captured_in_amount CHECK (captured BETWEEN 0 AND amount),
    CONSTRAINT wallet_holds_settled_once CHECK ((settled IS NULL) = (captured IS NULL))
);
CREATE INDEX wallet_holds_wallet ON wallet_holds (wallet_id, placed);
