//! Turns calls for one object into calls for many: while one call is under way, whoever else asks waits in line, and the next
//! call takes them all. Ten thousand reconciliations then cost a few hundred requests, and a lone one no delay.

use std::collections::BTreeMap;

use tidegate_kafka::{AdminError, PerItem};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

/// Most items of one call.
const LIMIT: usize = 500;

struct Request<K, I, O> {
    key: K,
    item: I,
    answer: oneshot::Sender<Result<O, AdminError>>,
}

/// Collects calls of one kind. Dropping it ends the call that is under way.
#[derive(Debug)]
pub struct Batcher<K, I, O> {
    queue: mpsc::UnboundedSender<Request<K, I, O>>,
    _worker: JoinSet<()>,
}

/// The batcher was dropped, or the call lost its item.
#[derive(Debug, thiserror::Error)]
#[error("the call was given up before it was answered")]
pub struct GivenUp;

impl<K, I, O> Batcher<K, I, O>
where
    K: Clone + Ord + Send + Sync + 'static,
    I: Send + 'static,
    O: Send + 'static,
{
    /// Starts a worker that makes the calls. Must be called within a Tokio runtime.
    pub fn new<F, Fut>(call: F) -> Self
    where
        F: Fn(BTreeMap<K, I>) -> Fut + Send + 'static,
        Fut: Future<Output = PerItem<K, O>> + Send,
    {
        let (queue, mut requests) = mpsc::unbounded_channel::<Request<K, I, O>>();
        let mut worker = JoinSet::new();
        worker.spawn(async move {
            // A second request for a key that is in the batch already: the first of the next.
            let mut held = None;
            loop {
                let Some(first) = (match held.take() {
                    Some(request) => Some(request),
                    None => requests.recv().await,
                }) else {
                    return;
                };
                // Let everybody who is about to ask do so.
                tokio::task::yield_now().await;
                let mut items = BTreeMap::from([(first.key.clone(), first.item)]);
                let mut answers = BTreeMap::from([(first.key, first.answer)]);
                while items.len() < LIMIT
                    && let Ok(request) = requests.try_recv()
                {
                    if items.contains_key(&request.key) {
                        held = Some(request);
                        break;
                    }
                    items.insert(request.key.clone(), request.item);
                    answers.insert(request.key, request.answer);
                }
                for (key, outcome) in call(items).await {
                    if let Some(answer) = answers.remove(&key) {
                        // Whoever asked may have left.
                        let _ = answer.send(outcome);
                    }
                }
            }
        });
        Self { queue, _worker: worker }
    }

    /// Asks for one item.
    ///
    /// # Errors
    /// [`GivenUp`] when no answer can come any more; the inner result is the call's own.
    pub async fn ask(&self, key: K, item: I) -> Result<Result<O, AdminError>, GivenUp> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Request { key, item, answer }).map_err(|_| GivenUp)?;
        answered.await.map_err(|_| GivenUp)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Sizes = Arc<Mutex<Vec<usize>>>;

    fn recording() -> (Batcher<String, u32, u32>, Sizes) {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = sizes.clone();
        let batcher = Batcher::new(move |items: BTreeMap<String, u32>| {
            seen.lock().unwrap().push(items.len());
            async move {
                tokio::task::yield_now().await;
                items.into_iter().map(|(key, item)| (key, Ok(item * 2))).collect()
            }
        });
        (batcher, sizes)
    }

    #[tokio::test]
    async fn callers_share_calls_and_each_gets_its_own_answer() {
        let (batcher, sizes) = recording();
        let asked = (0..1_000_u32).map(|number| batcher.ask(number.to_string(), number));
        for (number, answer) in futures::future::join_all(asked).await.into_iter().enumerate() {
            assert_eq!(answer.unwrap().unwrap(), 2 * u32::try_from(number).unwrap());
        }
        let sizes = sizes.lock().unwrap();
        assert_eq!(sizes.iter().sum::<usize>(), 1_000);
        assert!(sizes.len() <= 4, "{sizes:?}");
    }

    #[tokio::test]
    async fn two_requests_for_one_key_are_two_calls() {
        let (batcher, sizes) = recording();
        let (first, second) = tokio::join!(batcher.ask("a".into(), 1), batcher.ask("a".into(), 2));
        assert_eq!((first.unwrap().unwrap(), second.unwrap().unwrap()), (2, 4));
        assert_eq!(*sizes.lock().unwrap(), [1, 1]);
    }

    #[tokio::test]
    async fn an_item_that_the_call_forgets_is_given_up_not_waited_for() {
        let batcher: Batcher<String, (), ()> = Batcher::new(|_| async { PerItem::new() });
        assert!(batcher.ask("a".into(), ()).await.is_err());
    }
}
