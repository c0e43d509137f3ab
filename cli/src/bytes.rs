//! What others wrote, for a terminal: no character of it moves the cursor, hides, or turns the line around. Pure.

use tidegate_operator::dead_letters::{Blob, Content};

/// Bytes that are shown of what is no text.
const DUMP: usize = 1_024;
/// Bytes of a line of those.
const ROW: usize = 16;

/// Whether a terminal would do something else with a character than show it: control characters (ECMA-48's C1 too), and those that
/// have no width or turn the direction (Unicode's Cf, and the separators of lines).
pub fn is_tricky(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// A line of text, tricky characters escaped.
pub fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if is_tricky(char) { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    shown
}

/// The beginning of a line of text.
pub fn short(text: &str, most: usize) -> String {
    let shown = safe(text);
    match shown.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

/// Bytes in a line: text as it is, everything else byte by byte.
pub fn line(blob: &Blob) -> String {
    let shown = match &blob.content {
        Content::Text(text) => safe(text),
        Content::Base64(_) => blob.bytes().unwrap_or_default().escape_ascii().to_string(),
    };
    shown + &rest(blob, blob.bytes().map_or(0, |bytes| bytes.len()))
}

/// Bytes in lines, each indented: text as it is, everything else as a hex dump.
pub fn block(blob: &Blob) -> String {
    let bytes = blob.bytes().unwrap_or_default();
    let (lines, shown): (Vec<String>, usize) = match &blob.content {
        Content::Text(text) => (text.lines().map(safe).collect(), bytes.len()),
        Content::Base64(_) => {
            let part = &bytes[..bytes.len().min(DUMP)];
            (part.chunks(ROW).enumerate().map(|(row, bytes)| dumped(row * ROW, bytes)).collect(), part.len())
        }
    };
    let mut text: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    let rest = rest(blob, shown);
    if !rest.is_empty() {
        text += &format!(" {rest}\n");
    }
    text
}

fn rest(blob: &Blob, shown: usize) -> String {
    if shown < blob.size { format!(" … {} bytes more", blob.size - shown) } else { String::new() }
}

fn dumped(at: usize, bytes: &[u8]) -> String {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text: String = bytes
        .iter()
        .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
        .collect();
    format!("{at:08x}  {:<width$}  |{text}|", hex.join(" "), width = 3 * ROW - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(bytes: &[u8]) -> Blob {
        Blob::of(bytes, 2_000)
    }

    #[test]
    fn text_is_shown_as_it_is_and_what_moves_a_terminal_is_named() {
        for (text, shown) in [
            ("bob, 12 €, {\"a\": \"\\n\"}", "bob, 12 €, {\"a\": \"\\n\"}"),
            ("\u{1b}[2Jgone\r", "\\u{1b}[2Jgone\\r"),
            ("a\u{9b}31mb", "a\\u{9b}31mb"),
            ("user\u{202e}gpj.exe", "user\\u{202e}gpj.exe"),
            ("a\u{200b}b\tc", "a\\u{200b}b\\tc"),
        ] {
            assert_eq!(line(&blob(text.as_bytes())), shown);
        }
        assert_eq!(line(&blob(&[0x1b, b'[', 0xff])), "\\x1b[\\xff");
        assert_eq!(short("four €uros", 6), "four €…");
        assert_eq!(short("\u{1b}[m", 100), "\\u{1b}[m");
    }

    #[test]
    fn nothing_that_anybody_can_write_reaches_the_terminal_as_a_control_character() {
        let every: String = ('\0'..=char::MAX).collect();
        let bytes: Vec<u8> = (0..=u8::MAX).rev().collect();
        for shown in [safe(&every), line(&blob(&bytes)), short(&every, 100)] {
            assert!(!shown.chars().any(is_tricky));
        }
        let every = Blob { size: every.len(), content: Content::Text(every) };
        for blob in [every, blob(&bytes)] {
            assert!(!block(&blob).chars().any(|char| is_tricky(char) && char != '\n'));
        }
    }

    #[test]
    fn what_is_no_text_is_dumped_and_what_is_left_out_is_counted() {
        let mut bytes = vec![0xff; 18];
        bytes[1] = b'A';
        let expected = "  00000000  ff 41 ff ff ff ff ff ff ff ff ff ff ff ff ff ff  |.A..............|
  00000010  ff ff                                            |..|
";
        assert_eq!(block(&blob(&bytes)), expected);
        assert!(block(&blob(&[0xff; 1_500])).ends_with("|\n  … 476 bytes more\n"));
        assert_eq!(block(&blob(b"one\ntwo\x07")), "  one\n  two\\u{7}\n");
        assert_eq!(block(&Blob::of(b"hello", 2)), "  he\n  … 3 bytes more\n");
    }
}
