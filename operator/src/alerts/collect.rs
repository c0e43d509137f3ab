//! Beside a Prometheus that the Prometheus operator does not look after: the rule files of all labelled ConfigMaps, kept in a folder that
//! it reads. Prometheus cannot watch ConfigMaps, and a mounted one is known by name when the pod is written.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher,
    },
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::objects::RULES_LABEL;

/// Changes that come together are read together.
const SETTLE: Duration = Duration::from_millis(500);
/// How long Prometheus may take to read its rules, and how soon it is asked again when it did not.
const RELOAD: Duration = Duration::from_secs(5);

/// What `tidegate-operator collect-rules` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The folder; every .yaml file in it is kept or removed.
    #[arg(long)]
    pub folder: PathBuf,
    /// Which ConfigMaps.
    #[arg(long, default_value_t = format!("{RULES_LABEL}=true"))]
    pub selector: String,
    /// Address of the Prometheus beside, which was started with --web.enable-lifecycle.
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub prometheus: String,
}

/// Collects until `stop`.
///
/// # Errors
/// When the folder cannot be written.
pub async fn run(client: Client, arguments: &Arguments, stop: CancellationToken) -> io::Result<()> {
    let (store, writer) = reflector::store::<ConfigMap>();
    let config = watcher::Config::default().labels(&arguments.selector);
    let mut changes = pin!(watcher(Api::<ConfigMap>::all(client), config).default_backoff().reflect(writer));
    let (mut complete, mut told) = (false, false);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            change = changes.next() => match change {
                Some(Ok(event)) => {
                    // Before the first list is whole, a file that is missing is no reason to remove a rule.
                    complete |= matches!(event, watcher::Event::InitDone);
                    told = false;
                }
                Some(Err(error)) => tracing::warn!(%error, "the watch failed and is opened again"),
                None => return Err(io::Error::other("the watch of ConfigMaps ended")),
            },
            () = tokio::time::sleep(SETTLE), if complete && !told => {
                if keep(&arguments.folder, &files(&store))? > 0 {
                    tracing::info!(folder = %arguments.folder.display(), "rules changed");
                }
                told = reload(&arguments.prometheus).await;
                if !told {
                    tokio::time::sleep(RELOAD).await;
                }
            }
        }
    }
}

/// The wanted files by name.
fn files(store: &Store<ConfigMap>) -> BTreeMap<String, String> {
    let of = |map: &ConfigMap| {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let prefix = format!("{}_{}", part(&map.metadata.namespace), part(&map.metadata.name));
        let data = map.data.clone().unwrap_or_default().into_iter();
        data.map(|(key, text)| (format!("{prefix}_{key}.yaml"), text)).collect::<Vec<_>>()
    };
    store.state().iter().flat_map(|map| of(map)).collect()
}

/// Makes the folder's files those that are wanted; how many were not.
///
/// # Errors
/// When the folder cannot be read or written.
fn keep(folder: &Path, wanted: &BTreeMap<String, String>) -> io::Result<usize> {
    let mut changed = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".yaml") && !wanted.contains_key(name) {
            std::fs::remove_file(&path)?;
            changed += 1;
        }
    }
    for (name, text) in wanted {
        let path = folder.join(name);
        if std::fs::read_to_string(&path).ok().as_ref() != Some(text) {
            // Whole or not at all: Prometheus may be reading.
            let part = folder.join(format!("{name}.part"));
            std::fs::write(&part, text)?;
            std::fs::rename(&part, &path)?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// Asks Prometheus to read its rules; whether it did.
async fn reload(address: &str) -> bool {
    match timeout(RELOAD, post(address)).await {
        Ok(Ok(answer)) if answer.contains(" 200 ") => true,
        Ok(Ok(answer)) => {
            tracing::warn!(answer, "Prometheus does not take the rules; its log says why");
            false
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "Prometheus does not answer yet");
            false
        }
        Err(_) => false,
    }
}

/// `POST /-/reload` of a server on this host; the status line.
async fn post(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("POST /-/reload HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).await?;
    Ok(status.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[test]
    fn the_folder_holds_what_is_wanted_and_other_files_stay() {
        let folder = std::env::temp_dir().join(format!("tidegate-rules-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("notes.txt"), "mine").unwrap();
        let wanted = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), format!("of {name}"))).collect();
        assert_eq!(keep(&folder, &wanted(&["a.yaml", "b.yaml"])).unwrap(), 2);
        assert_eq!(keep(&folder, &wanted(&["a.yaml", "b.yaml"])).unwrap(), 0, "nothing to do");
        std::fs::write(folder.join("a.yaml"), "changed by hand").unwrap();
        assert_eq!(keep(&folder, &wanted(&["a.yaml", "c.yaml"])).unwrap(), 3, "put back, removed, added");
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["a.yaml", "c.yaml", "notes.txt"]);
        assert_eq!(std::fs::read_to_string(folder.join("a.yaml")).unwrap(), "of a.yaml");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn prometheus_is_told_and_its_refusal_is_heard() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            for status in ["200 OK", "500 Internal Server Error"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = String::new();
                while !asked.contains("\r\n\r\n") {
                    let mut part = [0_u8; 64];
                    let length = stream.read(&mut part).await.unwrap();
                    asked.push_str(std::str::from_utf8(&part[..length]).unwrap());
                }
                assert!(asked.starts_with("POST /-/reload HTTP/1.1\r\n"), "{asked}");
                stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.unwrap();
            }
        });
        assert!(reload(&address).await);
        assert!(!reload(&address).await);
        server.await.unwrap();
        assert!(!reload(&address).await, "nobody listens");
    }
}
