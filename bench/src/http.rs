//! An HTTP/1.1 client for one kind of request, which costs next to nothing: it shares the machine with what it measures.

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection that is kept.
pub struct Connection {
    stream: TcpStream,
    host: String,
    sent: Vec<u8>,
    received: Vec<u8>,
}

/// Where the parts of an answer are.
struct Head {
    status: u16,
    /// Where the body begins.
    body: usize,
    /// Its bytes.
    length: usize,
}

impl Connection {
    /// Connects to `http://host:port`.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let host =
            url.strip_prefix("http://").context("the address does not begin with http://")?.trim_end_matches('/');
        let stream = TcpStream::connect(host).await.with_context(|| format!("connecting to {host}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host: host.to_owned(), sent: Vec::with_capacity(1024), received: Vec::with_capacity(4096) })
    }

    /// POSTs JSON under a key; the status, and the body for whoever wants to look.
    pub async fn post(&mut self, path: &str, key: &str, body: &str) -> anyhow::Result<(u16, &[u8])> {
        use std::io::Write;
        self.sent.clear();
        write!(
            self.sent,
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        )?;
        self.stream.write_all(&self.sent).await.context("sending a request")?;
        self.received.clear();
        loop {
            if let Some(Head { status, body, length }) = head(&self.received)?
                && self.received.len() >= body + length
            {
                return Ok((status, &self.received[body..body + length]));
            }
            if self.stream.read_buf(&mut self.received).await.context("reading an answer")? == 0 {
                bail!("the service closed the connection");
            }
        }
    }
}

/// Reads an answer's head, if all of it is there. Every answer of the services says how long it is.
fn head(received: &[u8]) -> anyhow::Result<Option<Head>> {
    let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&received[..end]).context("an answer's head is not text")?;
    let status = text.get(9..12).and_then(|status| status.parse().ok()).context("an answer has no status")?;
    let length = text
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .context("an answer does not say how long it is")?;
    Ok(Some(Head { status, body: end + 4, length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let answer = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nContent-Length: 5\r\n\r\n{...}";
        for cut in 0..answer.len() - 5 {
            assert!(head(&answer[..cut]).unwrap().is_none(), "{cut}");
        }
        let Head { status, body, length } = head(answer).unwrap().unwrap();
        assert_eq!((status, &answer[body..body + length]), (201, &b"{...}"[..]));
    }

    #[test]
    fn an_answer_without_its_length_is_refused() {
        assert!(head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
