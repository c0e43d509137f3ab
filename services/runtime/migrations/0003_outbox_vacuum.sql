-- Rows come and go at once, so dead ones are swept up without pausing; those of large payloads too.
ALTER TABLE tidegate.outbox SET (
    autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 5000,
    toast.autovacuum_vacuum_cost_delay = 0
);
