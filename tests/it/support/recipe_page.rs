//! A page of `docs/recipes` as tests see it: the files it consists of, and the SQL to be run.
//!
//! `<!-- file: NAME -->` in the line before a block makes the block a file, `<!-- run -->` makes it something that
//! the test of the page runs. Every other block must say `<!-- not run -->`, so that none is forgotten.

use std::path::Path;

/// What a page has.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Names and texts, in order.
    pub(crate) files: Vec<(String, String)>,
    /// Texts of blocks that are run, in order.
    pub(crate) runs: Vec<String>,
    /// How many blocks say that they are not run.
    pub(crate) not_run: usize,
}

impl Page {
    /// `docs/recipes/NAME.md`.
    pub(crate) fn read(name: &str) -> Self {
        Self::at(&format!("docs/recipes/{name}.md"))
    }

    /// A page anywhere in the repository.
    pub(crate) fn at(path: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        Self::parse(&std::fs::read_to_string(path).expect("the page"))
    }

    fn parse(text: &str) -> Self {
        let (mut page, mut before) = (Self::default(), "");
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.starts_with("```") {
                let block: Vec<&str> = lines.by_ref().take_while(|l| *l != "```").collect();
                let block = block.join("\n") + "\n";
                let mark = before.strip_prefix("<!-- ").and_then(|b| b.strip_suffix(" -->"));
                match mark.map(|mark| mark.split_once(": ").unwrap_or((mark, ""))) {
                    Some(("file", name)) => page.files.push((name.to_owned(), block)),
                    Some(("run", "")) => page.runs.push(block),
                    Some(("not run", "")) => page.not_run += 1,
                    _ => panic!("a block without a mark, behind {before:?}:\n{block}"),
                }
            }
            before = line;
        }
        page
    }

    /// The text of a file.
    pub(crate) fn file(&self, name: &str) -> &str {
        let found = self.files.iter().find(|(own, _)| own == name);
        &found.unwrap_or_else(|| panic!("no file {name}")).1
    }
}

#[test]
fn blocks_are_what_their_marks_say() {
    let page = Page::parse(
        "a\n<!-- file: x.ts -->\n```ts\n1\n\n2\n```\n<!-- run -->\n```sql\nselect 1;\n```\n<!-- not run -->\n```\n```\n",
    );
    assert_eq!(page.file("x.ts"), "1\n\n2\n");
    assert_eq!((page.runs, page.not_run), (vec!["select 1;\n".to_owned()], 1));
}

#[test]
#[should_panic(expected = "a block without a mark")]
fn a_block_without_a_mark_is_refused() {
    Page::parse("text\n```sql\nselect 1;\n```\n");
}
