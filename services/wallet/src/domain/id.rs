//! Ids that come from outside, checked once, so that everything behind the door can rely on what they are made of.

use std::fmt;

/// Longest id of a wallet, in bytes.
pub const LONGEST: usize = 64;

/// Longest owner's id or reference, in characters.
pub const LONGEST_LINE: usize = 140;

/// A wallet's id: 1 to 64 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit. It is the event stream's name and the key of its
/// records; it holds no colon, so that it is never the name of one of the ledger's own accounts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalletId(String);

/// Text that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TextError {
    /// Not an id.
    #[error("an id is 1 to {LONGEST} of A-Z a-z 0-9 . _ - and begins with a letter or digit")]
    NotAnId,
    /// Not a line of text.
    #[error("this is a line of 1 to {LONGEST_LINE} characters, none of them a control character")]
    NotALine,
}

impl WalletId {
    /// Checks the text.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        id(text).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WalletId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who owns a wallet: somebody else's id, of which no more is asked than that it is a line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerId(String);

impl OwnerId {
    /// Checks the text.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        line(text).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the caller calls a movement of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(String);

impl Reference {
    /// Checks the text.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        line(text).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn line(text: &str) -> Result<String, TextError> {
    let fits = (1..=LONGEST_LINE).contains(&text.chars().count());
    if fits && !text.chars().any(char::is_control) { Ok(text.to_owned()) } else { Err(TextError::NotALine) }
}

fn id(text: &str) -> Result<String, TextError> {
    let may_begin = |byte: u8| byte.is_ascii_alphanumeric();
    let may_follow = |byte: u8| may_begin(byte) || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=LONGEST).contains(&text.len());
    if fits && text.bytes().next().is_some_and(may_begin) && text.bytes().all(may_follow) {
        Ok(text.to_owned())
    } else {
        Err(TextError::NotAnId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_and_plain() {
        for text in ["a", "A-1", "018f.x_y-z", "0", &"w".repeat(64)] {
            assert_eq!(WalletId::parse(text).map(|id| id.to_string()), Ok(text.to_owned()));
        }
        for text in ["", " ", "-a", ".", "a b", "a/b", "external:EUR", "é", "a\0", &"w".repeat(65)] {
            assert_eq!(WalletId::parse(text), Err(TextError::NotAnId), "{text:?}");
        }
    }

    #[test]
    fn a_reference_is_a_line_of_text() {
        assert!(Reference::parse("Rent, März 2026").is_ok());
        assert!(Reference::parse(&"é".repeat(140)).is_ok());
        for text in ["", "two\nlines", "nul\0", &"x".repeat(141)] {
            assert_eq!(Reference::parse(text), Err(TextError::NotALine), "{text:?}");
        }
    }
}
