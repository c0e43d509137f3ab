//! Columns that line up. Colours take no room.

/// Lines of cells as text: each column as wide as its widest cell, two spaces between, nothing behind the last.
pub fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| visible(cell)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut written = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            written.push_str(cell);
            written.push_str(&" ".repeat(width - visible(cell) + 2));
        }
        text.push_str(written.trim_end());
        text.push('\n');
    }
    text
}

/// Characters that take room: not those of a colour.
fn visible(cell: &str) -> usize {
    let mut count = 0;
    let mut escaped = false;
    for char in cell.chars() {
        match (escaped, char) {
            (false, '\u{1b}') => escaped = true,
            (false, _) => count += 1,
            (true, 'm') => escaped = false,
            (true, _) => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_is_coloured_or_missing() {
        let line = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let text =
            table(&[line(&["A", "LONG", "C"]), line(&["aaa", "\u{1b}[31mx\u{1b}[0m", "c"]), line(&["├─ b", ""])]);
        assert_eq!(text, "A     LONG  C\naaa   \u{1b}[31mx\u{1b}[0m     c\n├─ b\n");
    }
}
