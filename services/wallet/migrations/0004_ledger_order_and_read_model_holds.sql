-- The order in which entries were booked: of one wallet, a later version has the greater number.
ALTER TABLE ledger_entries
    ADD COLUMN entry bigint NOT NULL GENERATED ALWAYS AS IDENTITY;

ALTER TABLE wallet_read_model
    ADD COLUMN held bigint NOT NULL DEFAULT 0; -- minor units of the currency; part of the balance
