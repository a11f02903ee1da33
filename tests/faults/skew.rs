//! The library that shifts clocks shifts them, and nothing that decides reads the one it shifts.

use std::process::Command;

use crate::support::clock::library;

#[test]
fn the_library_shifts_the_wall_clock_of_a_process() {
    let seconds = |skew: &str| {
        let mut date = Command::new("date");
        date.arg("+%s").env("LD_PRELOAD", library()).env("CLOCK_SKEW_S", skew);
        let out = String::from_utf8(date.output().expect("date").stdout).expect("text");
        out.trim().parse::<i64>().expect("seconds")
    };
    assert!((500..700).contains(&(seconds("600") - seconds("0"))));
    assert!((-700..-500).contains(&(seconds("-600") - seconds("0"))));
}

/// The row with wrong clocks shows it for the moments it meets; this holds for all of them.
#[test]
fn no_layer_that_decides_reads_the_wall_clock() {
    let reads = ["SystemTime::now", "Timestamp::now", "Zoned::now", "UtcDateTime::now"];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders: Vec<_> = ["domain", "store", "ably", "relay"].map(|l| root.join(l)).into();
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                let found = reads.iter().find(|read| text.contains(**read));
                assert_eq!(found, None, "{}: time is PostgreSQL's or monotonic", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 30, "the sources were not found");
}
