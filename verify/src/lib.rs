//! Invariant checkers, the load driver and the end-to-end stories.
