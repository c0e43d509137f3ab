//! What every service runs on: consumer, outbox relay, HTTP shell, metrics, shutdown.
