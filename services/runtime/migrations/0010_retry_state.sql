-- Of a retry topic's partition: which of its records are not finished, as text (the runtime's own; the same that rides in the metadata
-- of Kafka's offsets). next_offset is the first of them then.
ALTER TABLE tidegate.projection_offsets ADD COLUMN state text COLLATE "C" NOT NULL DEFAULT '';
