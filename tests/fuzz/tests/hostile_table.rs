//! `tests/HOSTILE.md` tells the truth: every test it names stands in the sources, in the crate it says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use wakeline_fuzz::TARGETS;

fn gather(folder: &Path, text: &mut String) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            gather(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_in_the_table_stands_in_its_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let table = std::fs::read_to_string(root.join("tests/HOSTILE.md")).unwrap();
    let mut names = 0;
    let mut sources = std::collections::BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with("| S") || line.starts_with("| F")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{row}");
        assert!(cells[3].is_empty() || TARGETS.iter().any(|target| target.name == cells[3]), "{row}");
        for quoted in cells[2].split('`').skip(1).step_by(2) {
            let (owner, name) = quoted.split_once("::").expect("crate::name");
            let source = sources.entry(owner.to_owned()).or_insert_with(|| {
                let mut text = String::new();
                gather(&root.join("core").join(owner), &mut text);
                gather(&root.join("tests").join(owner), &mut text);
                text
            });
            assert!(
                source.contains(&format!("fn {name}()")),
                "{quoted} is in the table and not in the sources"
            );
            names += 1;
        }
    }
    assert!(names > 150, "only {names} names were read");
}
