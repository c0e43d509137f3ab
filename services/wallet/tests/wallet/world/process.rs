//! The binary as a process, and how to talk to it.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use reqwest::StatusCode;
use serde_json::Value;

use super::eventually;

/// A running process. It is killed when it goes out of scope.
pub struct Process {
    child: Child,
    http: reqwest::Client,
    base: String,
    log: std::path::PathBuf,
}

/// A port that nobody listens on now, and that nobody else was given: a process listens a while after it was told its port.
pub(super) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

impl Process {
    pub(super) fn spawn(folder: &Path, settings: &Value) -> Self {
        let port = settings["http"]["port"].as_u64().unwrap();
        Self::spawn_with(folder, u16::try_from(port).unwrap(), |command, port| {
            let path = folder.join(format!("settings-{port}.yaml"));
            std::fs::write(&path, settings.to_string()).unwrap(); // JSON is YAML
            command.arg("--settings").arg(&path);
        })
    }

    /// A process that dies where the crash points say.
    pub(super) fn spawn_to_crash(folder: &Path, settings: &Value, points: &str) -> Self {
        let port = settings["http"]["port"].as_u64().unwrap();
        Self::spawn_with(folder, u16::try_from(port).unwrap(), |command, port| {
            let path = folder.join(format!("settings-{port}.yaml"));
            std::fs::write(&path, settings.to_string()).unwrap();
            command.arg("--settings").arg(&path).env("FAILPOINTS", points);
        })
    }

    /// A process that listens on that port, told what it is by `tell`.
    pub(super) fn spawn_with(folder: &Path, port: u16, tell: impl FnOnce(&mut Command, u16)) -> Self {
        let log = folder.join(format!("log-{port}"));
        let output = std::fs::File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-wallet"));
        // Nothing of the test's own environment: what the process is told is told here.
        command.env_clear().stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        tell(&mut command, port);
        let child = command.spawn().unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { child, http, base: format!("http://127.0.0.1:{port}"), log }
    }

    pub(super) async fn until_ready(&self) {
        eventually("the process is ready", async || match self.http.get(self.url("/readyz")).send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("{}; {}", response.status(), self.tail())),
            Err(error) => Err(format!("{error}; {}", self.tail())),
        })
        .await;
    }

    /// The last lines that the process logged.
    fn tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// GETs a document, whatever the status.
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.http.get(self.url(path)).send().await.unwrap()).await
    }

    /// POSTs a body, whatever it is.
    pub async fn post(&self, path: &str, body: impl ToString) -> (StatusCode, Value) {
        read(self.http.post(self.url(path)).body(body.to_string()).send().await.unwrap()).await
    }

    /// POSTs a body under a key; the answer's body as it came.
    pub async fn post_with_key(&self, path: &str, key: impl AsRef<str>, body: impl ToString) -> (StatusCode, String) {
        self.try_post_with_key(path, key, body).await.unwrap()
    }

    /// The same, for a process that may die under it.
    pub async fn try_post_with_key(
        &self,
        path: &str,
        key: impl AsRef<str>,
        body: impl ToString,
    ) -> Result<(StatusCode, String), reqwest::Error> {
        let request = self.http.post(self.url(path)).header("Idempotency-Key", key.as_ref()).body(body.to_string());
        let response = request.send().await?;
        Ok((response.status(), response.text().await?))
    }

    /// POSTs a body that must be accepted.
    pub async fn done(&self, path: &str, body: impl ToString) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, StatusCode::CREATED, "{path}: {answer}");
        answer
    }

    /// Ends it without a word (SIGKILL).
    pub fn kill_now(&self) {
        self.signal("-KILL");
    }

    /// Waits until it has died by itself.
    pub async fn until_dead(&mut self) {
        let child = &mut self.child;
        eventually("the process dies", async || {
            child.try_wait().unwrap().map(|_| ()).ok_or_else(|| "it lives".to_owned())
        })
        .await;
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Asks it to end (SIGTERM); how it ended.
    pub async fn stop(mut self) -> std::process::ExitStatus {
        self.signal("-TERM");
        eventually("the process ends when it is asked to", async || {
            self.child.try_wait().unwrap().ok_or_else(|| self.tail())
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn read(response: reqwest::Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
