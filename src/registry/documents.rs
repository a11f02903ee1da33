//! JSON documents out of a stream: one a line, or values that span lines. Memory is bounded whatever comes.

use std::io::{self, BufRead};

/// The longest document in bytes; an event of Ably's largest plan has 256 KiB. The rest of a longer one is skipped.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// A piece of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// Its bytes, which may or may not be JSON; never blank.
    Text(Vec<u8>),
    /// Longer than [`DOCUMENT_BYTES_MAX`].
    TooLong,
}

/// How documents are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Nothing but blanks has been seen.
    Unknown,
    /// One a line, so that a broken line costs itself alone.
    Lines,
    /// By brackets: the first line did not end its value.
    Values,
}

/// Reads documents one by one.
#[derive(Debug)]
pub struct Documents<R> {
    input: R,
    layout: Layout,
    /// What has been read of the current document.
    bytes: Vec<u8>,
    too_long: bool,
    scan: Scan,
}

/// Where in a value a byte is.
#[derive(Debug, Default)]
struct Scan {
    depth: u64,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Takes one byte; whether it ends a value of brackets.
    fn ends_with(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

impl<R: BufRead> Documents<R> {
    /// Documents of this input.
    pub fn new(input: R) -> Self {
        Self {
            input,
            layout: Layout::Unknown,
            bytes: Vec::new(),
            too_long: false,
            scan: Scan::default(),
        }
    }

    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// The input's own.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's item would be a result to flip"
    )]
    pub fn next(&mut self) -> io::Result<Option<Document>> {
        loop {
            let (used, ended) = self.look()?;
            if used == 0 && !ended {
                // The end of the input; what is left is a document, complete or not.
                return Ok(self.take());
            }
            self.input.consume(used);
            if ended && let Some(document) = self.take() {
                return Ok(Some(document));
            }
        }
    }

    /// Takes what is buffered up to the end of a document: how many bytes, and whether it ended.
    fn look(&mut self) -> io::Result<(usize, bool)> {
        let Self { input, layout, bytes, too_long, scan } = self;
        let mut used = 0;
        for byte in input.fill_buf()? {
            used += 1;
            let newline = *byte == b'\n';
            let value_ends = *layout != Layout::Lines && scan.ends_with(*byte);
            // Blanks before a document are not kept: any number of them costs nothing.
            if !bytes.is_empty() || !byte.is_ascii_whitespace() {
                if bytes.len() < DOCUMENT_BYTES_MAX {
                    bytes.push(*byte);
                } else if !(newline && *layout == Layout::Lines) {
                    *too_long = true;
                }
            }
            let ended = match *layout {
                Layout::Lines => newline,
                Layout::Values => value_ends,
                Layout::Unknown if newline && !bytes.is_empty() => {
                    let open = scan.depth > 0 || scan.in_string;
                    *layout = if open { Layout::Values } else { Layout::Lines };
                    !open
                }
                Layout::Unknown => false,
            };
            if ended {
                return Ok((used, true));
            }
        }
        Ok((used, false))
    }

    fn take(&mut self) -> Option<Document> {
        let bytes = std::mem::take(&mut self.bytes);
        self.scan = Scan::default();
        if std::mem::take(&mut self.too_long) {
            return Some(Document::TooLong);
        }
        (!bytes.is_empty()).then_some(Document::Text(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let mut documents = Documents::new(io::BufReader::with_capacity(7, text.as_bytes()));
        let mut found = Vec::new();
        while let Some(document) = documents.next().unwrap() {
            found.push(match document {
                Document::Text(bytes) => String::from_utf8(bytes).unwrap().trim().to_owned(),
                Document::TooLong => "too long".to_owned(),
            });
        }
        found
    }

    #[test]
    fn lines_are_documents_and_a_broken_one_costs_itself_alone() {
        assert_eq!(
            read("{\"a\": \"}\"}\n\n {\"b\n{\"c\": 1}"),
            ["{\"a\": \"}\"}", "{\"b", "{\"c\": 1}"]
        );
        assert_eq!(read("\n\r\n1\r\n2\n"), ["1", "2"]);
        assert_eq!(read(" \n"), Vec::<String>::new());
        assert_eq!(read("{} {}"), ["{} {}"]);
    }

    #[test]
    fn values_may_span_lines() {
        let pretty = "{\n  \"a\": [\"}\\\"\", {}]\n}";
        assert_eq!(read(pretty), [pretty]);
        assert_eq!(read(&format!("\n{pretty}\n{pretty}{{}}\n")), [pretty, pretty, "{}"]);
        assert_eq!(read("{\n"), ["{"]);
        assert_eq!(read("[\n1,\n2]\n]\n{}"), ["[\n1,\n2]", "]", "{}"]);
    }

    #[test]
    fn a_document_of_any_length_takes_bounded_memory() {
        let long = "x".repeat(DOCUMENT_BYTES_MAX + 1);
        assert_eq!(read(&format!("1\n{long}\n2\n")), ["1", "too long", "2"]);
        assert_eq!(read(&format!("{long}\n2\n")), ["too long", "2"]);
        assert_eq!(read(&format!("{{\n\"{long}\"}}\n{{}}")), ["too long", "{}"]);
        assert_eq!(read(&"x".repeat(DOCUMENT_BYTES_MAX)).len(), 1);
    }
}
