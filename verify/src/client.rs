//! The wallet's HTTP API as a patient client uses it: every POST carries an idempotency key, and is repeated under the same key
//! when the connection broke or the service said 503.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use reqwest::{StatusCode, Url};
use serde_json::Value;

/// Attempts at one call, the first included, unless the client's patience lasts longer.
pub const ATTEMPTS: u32 = 12;

/// How long one attempt may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The same where servers are stopped on purpose: whoever is asked next may be alive.
const ANSWER_SOON: Duration = Duration::from_secs(8);

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The base URL is not one that may be called.
    #[error("{url} is refused: {why}")]
    Refused {
        /// The URL as it was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No client could be built.
    #[error("building the HTTP client: {0}")]
    Build(reqwest::Error),
    /// The service answered, but not with success.
    #[error("{method} {path} was answered {status}: {body}")]
    Answer {
        /// The method.
        method: &'static str,
        /// The path.
        path: String,
        /// The answer's status.
        status: StatusCode,
        /// The answer's body: a problem document (RFC 9457).
        body: Value,
    },
    /// The service answered with success, but not what it says it answers.
    #[error("{path} was answered {body}, which is not as documented")]
    Unexpected {
        /// The path.
        path: String,
        /// The answer.
        body: Value,
    },
    /// Every attempt failed to get an answer that counts.
    #[error("{method} {path} got no answer in {attempts} attempts; the last: {last}")]
    Exhausted {
        /// How many were made.
        attempts: u32,
        /// The method.
        method: &'static str,
        /// The path.
        path: String,
        /// What the last attempt met.
        last: String,
    },
}

impl CallError {
    /// The status, when the service answered.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answer { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The body, when the service answered.
    pub fn body(&self) -> &Value {
        match self {
            Self::Answer { body, .. } => body,
            _ => &Value::Null,
        }
    }
}

/// A client of the wallet's API on this machine.
pub struct WalletApi {
    http: reqwest::Client,
    base: Url,
    patience: Duration,
    retries: AtomicU64,
}

impl WalletApi {
    /// A client for `base_url`, whose host must be this machine: load goes nowhere else.
    pub fn new(base_url: &str) -> Result<Self, CallError> {
        Self::build(base_url, ANSWER_WITHIN, Duration::ZERO)
    }

    /// One that repeats a call until it is answered, for as long as `patience`.
    pub fn patient(base_url: &str, patience: Duration) -> Result<Self, CallError> {
        Self::build(base_url, ANSWER_SOON, patience)
    }

    fn build(base_url: &str, answer_within: Duration, patience: Duration) -> Result<Self, CallError> {
        let refused = |why: &str| CallError::Refused { url: base_url.into(), why: why.into() };
        let base = Url::parse(base_url).map_err(|error| refused(&error.to_string()))?;
        if base.scheme() != "http" {
            return Err(refused("only http is spoken to the local cluster"));
        }
        let host = base.host_str().unwrap_or_default();
        let port = base.port_or_known_default().unwrap_or(80);
        let loopback = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !loopback {
            return Err(refused("its host is not a loopback address"));
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            // Whatever the resolver thinks of it, localhost is this machine.
            .resolve("localhost", SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(answer_within)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(256)
            .build()
            .map_err(CallError::Build)?;
        Ok(Self { http, base, patience, retries: AtomicU64::new(0) })
    }

    /// Attempts beyond the first of each call, so far.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Opens a wallet in EUR.
    pub async fn open(&self, wallet: &str, key: &str) -> Result<Value, CallError> {
        let body = serde_json::json!({"walletId": wallet, "ownerId": format!("owner-of-{wallet}"), "currency": "EUR"});
        self.post("wallets", &body, key).await
    }

    /// Deposits an amount in minor units.
    pub async fn deposit(&self, wallet: &str, minor: i64, key: &str) -> Result<Value, CallError> {
        self.post(&format!("wallets/{wallet}/deposits"), &serde_json::json!({"amount": decimal(minor)}), key).await
    }

    /// Withdraws an amount in minor units.
    pub async fn withdraw(&self, wallet: &str, minor: i64, key: &str) -> Result<Value, CallError> {
        self.post(&format!("wallets/{wallet}/withdrawals"), &serde_json::json!({"amount": decimal(minor)}), key).await
    }

    /// Transfers an amount in minor units.
    pub async fn transfer(&self, from: &str, to: &str, minor: i64, key: &str) -> Result<Value, CallError> {
        self.post("transfers", &serde_json::json!({"from": from, "to": to, "amount": decimal(minor)}), key).await
    }

    /// POSTs a document under an idempotency key.
    pub async fn post(&self, path: &str, body: &Value, key: &str) -> Result<Value, CallError> {
        self.call("POST", path, || self.http.post(self.url(path)).header("Idempotency-Key", key).json(body)).await
    }

    /// GETs a document.
    pub async fn get(&self, path: &str) -> Result<Value, CallError> {
        self.call("GET", path, || self.http.get(self.url(path))).await
    }

    async fn call(
        &self,
        method: &'static str,
        path: &str,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<Value, CallError> {
        let patient_until = Instant::now() + self.patience;
        let mut backoff = FIRST_BACKOFF;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let last = match self.attempt(&request).await {
                Ok((status, body)) if status.is_success() => return Ok(body),
                Ok((StatusCode::SERVICE_UNAVAILABLE, body)) => format!("503: {body}"),
                Ok((status, body)) => return Err(CallError::Answer { method, path: path.into(), status, body }),
                Err(error) => error.to_string(),
            };
            if attempts >= ATTEMPTS && Instant::now() >= patient_until {
                return Err(CallError::Exhausted { attempts, method, path: path.into(), last });
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    async fn attempt(
        &self,
        request: &impl Fn() -> reqwest::RequestBuilder,
    ) -> Result<(StatusCode, Value), reqwest::Error> {
        let response = request().send().await?;
        let status = response.status();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base.as_str().trim_end_matches('/'))
    }
}

/// Minor units of EUR as the API writes them: 1234 is `12.34`.
pub fn decimal(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", minor.unsigned_abs() / 100, minor.unsigned_abs() % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_with_their_cents() {
        for (minor, text) in [(0, "0.00"), (5, "0.05"), (1234, "12.34"), (-70, "-0.70"), (-12_345, "-123.45")] {
            assert_eq!(decimal(minor), text);
        }
    }

    #[test]
    fn only_this_machine_is_called() {
        for url in ["http://localhost:30080", "http://127.0.0.1:30080/", "http://[::1]:30080"] {
            assert!(WalletApi::new(url).is_ok(), "{url}");
        }
        for url in ["http://example.org", "http://10.0.0.1:30080", "http://localhost.example.org", "https://localhost"]
        {
            assert!(matches!(WalletApi::new(url), Err(CallError::Refused { .. })), "{url}");
        }
    }
}
