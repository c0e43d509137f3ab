//! The wallet's binary as a process, in the role of its ledger projector.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::cluster::Cluster;

/// How long it may take to end.
const END: Duration = Duration::from_secs(30);

/// A process that is killed if it is dropped; its folder goes with it.
pub struct Service {
    child: Child,
    folder: PathBuf,
}

impl Service {
    /// Starts it on the topic and the database.
    pub async fn start(
        cluster: &Cluster,
        binary: &Path,
        topic: &str,
        group: &str,
        database: &str,
    ) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(database);
        // Passwords lie in it.
        fs::DirBuilder::new().mode(0o700).create(&folder).context("making the process's folder")?;
        let kafka = &cluster.environment.kafka;
        let authority = fs::read_to_string(&kafka.ca_file).context("reading the certificate authority")?;
        bind(
            &folder.join("kafka"),
            &[
                ("bootstrap-servers", kafka.bootstrap_servers.as_str()),
                ("security-protocol", "SASL_SSL"),
                ("sasl-mechanism", &kafka.mechanism),
                ("username", &kafka.username),
                ("password", &kafka.password),
                ("ca.crt", &authority),
            ],
        )?;
        bind(&folder.join("database"), &[("uri", &cluster.url(database)?), ("ca.crt", &authority)])?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let settings = json!({
            "version": 1,
            "identity": {"namespace": "bench", "pipeline": database, "processor": "ledger-projector"},
            "kafka": {"path": folder.join("kafka")},
            "database": {"path": folder.join("database")},
            "run": {"wallet": {"role": "LedgerProjector"}},
            "consumes": {"topics": [topic], "group": group, "startAt": "Earliest"},
            "http": {"port": port, "auth": "None"},
        });
        // JSON is YAML.
        fs::write(folder.join("settings.yaml"), settings.to_string())?;
        let log = fs::File::create(folder.join("log"))?;
        let child = Command::new(binary)
            .arg("--settings")
            .arg(folder.join("settings.yaml"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        Ok(Self { child, folder })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that was its own at a time (resident, pages of files included).
    pub fn peak_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or_default() * 1024
    }

    /// The last lines that it logged.
    pub fn tail(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let asked = Command::new("kill").args(["-TERM", &self.id().to_string()]).status()?;
        ensure!(asked.success(), "the projector could not be asked to end");
        let ends = Instant::now() + END;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < ends, "the projector does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn bind(folder: &Path, keys: &[(&str, &str)]) -> anyhow::Result<()> {
    fs::create_dir(folder)?;
    for (key, value) in keys {
        fs::write(folder.join(key), value)?;
    }
    Ok(())
}
