-- The replay that a projection's rows are of; empty: there was none. Who works in an earlier one may not write any more.
CREATE TABLE tidegate.projection_generations (
    consumer_group text COLLATE "C"   NOT NULL,
    generation     text COLLATE "C"   NOT NULL DEFAULT '',
    earlier        text[] COLLATE "C" NOT NULL DEFAULT '{}', -- those before it, the first one first
    begun_at       timestamptz        NOT NULL DEFAULT now(),
    CONSTRAINT projection_generations_group PRIMARY KEY (consumer_group)
);
ALTER TABLE tidegate.projection_offsets ADD COLUMN generation text COLLATE "C" NOT NULL DEFAULT '';
