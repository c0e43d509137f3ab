-- How far each projection has come, written in the same transaction as its rows. Kafka's own offsets only follow it.
CREATE TABLE tidegate.projection_offsets (
    consumer_group text COLLATE "C" NOT NULL,
    topic          text COLLATE "C" NOT NULL,
    partition      integer          NOT NULL,
    next_offset    bigint           NOT NULL, -- the first offset that is not applied
    updated_at     timestamptz      NOT NULL DEFAULT now(),
    CONSTRAINT projection_offsets_partition PRIMARY KEY (consumer_group, topic, partition),
    CONSTRAINT projection_offsets_not_negative CHECK (next_offset >= 0)
);
