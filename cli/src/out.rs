//! Where the words go. A reader that goes away (`| head`) ends the program quietly.

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use crate::{bytes::is_tricky, error::Error};

/// Standard output.
pub struct Out {
    stdout: io::Stdout,
    paint: Paint,
}

/// Whether words are coloured: on a terminal, unless NO_COLOR is set (no-color.org).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    /// Fine.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// On its way, or to be looked at.
    pub fn odd(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Wrong.
    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

impl Out {
    /// Standard output as it is.
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let paint = Paint(stdout.is_terminal() && !plain);
        Self { stdout, paint }
    }

    /// How to colour.
    pub fn paint(&self) -> Paint {
        self.paint
    }

    /// Writes text, at once.
    pub fn text(&mut self, text: &str) -> Result<(), Error> {
        let mut lock = self.stdout.lock();
        lock.write_all(text.as_bytes()).and_then(|()| lock.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Error::Closed,
            _ => Error::Write(error),
        })
    }

    /// Writes a value and a newline.
    pub fn json(&mut self, value: &Value) -> Result<(), Error> {
        self.text(&document(value))
    }
}

/// A value as JSON that a terminal can be shown, too: outside its strings there is nothing tricky but ends of lines.
fn document(value: &Value) -> String {
    let mut text = String::new();
    for char in format!("{value:#}\n").chars() {
        if char != '\n' && is_tricky(char) {
            text.extend(char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            text.push(char);
        }
    }
    text
}

/// Says something on standard error. Nobody is left to tell when that fails.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_everything_and_does_nothing() {
        let every: Value = ('\0'..=char::MAX).collect::<String>().into();
        let document = document(&every);
        assert!(!document.trim_end().chars().any(is_tricky));
        assert_eq!(serde_json::from_str::<Value>(&document).unwrap(), every);
    }
}
