//! How many reconciliations are under way, so that a stopping operator knows when none is.

use tokio::sync::watch;

/// Counts what is under way.
#[derive(Debug)]
pub struct Busy(watch::Sender<usize>);

impl Default for Busy {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

/// Something under way, until it is dropped.
#[derive(Debug)]
pub struct Work<'a>(&'a Busy);

impl Busy {
    /// One more.
    pub fn enter(&self) -> Work<'_> {
        self.0.send_modify(|count| *count += 1);
        Work(self)
    }

    /// Waits until nothing is under way.
    pub async fn idle(&self) {
        // The sender is here, so the channel is open.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn idle_is_when_the_last_has_ended() {
        let busy = Busy::default();
        assert!(busy.idle().now_or_never().is_some());
        let (first, second) = (busy.enter(), busy.enter());
        drop(first);
        assert!(busy.idle().now_or_never().is_none());
        drop(second);
        busy.idle().await;
    }
}
