//! The table of what a leg survives (`tests/faults.md`) names tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the table must have a row for: media, and what recordings survive. M11 and M12 come with the WebRTC legs.
fn rows() -> BTreeSet<String> {
    let media = (1..=23).filter(|number| ![11, 12].contains(number));
    let recordings = (1..=5).map(|number| format!("R{number}"));
    media
        .map(|number| format!("M{number}"))
        .chain(recordings)
        .chain(["C8".to_owned()])
        .collect()
}

#[test]
fn every_row_of_the_table_of_faults_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("tests/faults.md")).expect("the table is there");
    let tests = tests_below(&[root.join("src"), root.join("tests")]);
    let complaints = complaints(&table, &tests);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn a_row_without_a_test_or_with_a_wrong_one_is_told() {
    let tests = BTreeSet::from(["a_test_there_is".to_owned()]);
    let mut table: String = rows()
        .iter()
        .map(|row| format!("| {row} | in | out | `a_test_there_is` |\n"))
        .collect();
    assert_eq!(complaints(&table, &tests), [""; 0]);
    table = table.replace("| M3 | in | out | `a_test_there_is` |\n", "");
    table = table.replace(
        "| M5 | in | out | `a_test_there_is` |",
        "| M5 | in `a` | out |  |",
    );
    table = table.replace(
        "| M7 | in | out | `a_test_there_is` |",
        "| M7 | in | out | `a_test_there_was` |",
    );
    assert_eq!(
        complaints(&table, &tests),
        [
            "M5 names no test",
            "M7: there is no test `a_test_there_was`",
            "there is no row M3",
        ]
    );
}

fn complaints(table: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    let expected = rows();
    let mut found: BTreeSet<&str> = BTreeSet::new();
    for line in table.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (Some(row), Some(held_by)) = (cells.first(), cells.last()) else {
            continue;
        };
        if !expected.contains(*row) {
            continue;
        }
        found.insert(row);
        let named: Vec<&str> = held_by.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            complaints.push(format!("{row} names no test"));
        }
        let missing = named.into_iter().filter(|name| !tests.contains(*name));
        complaints.extend(missing.map(|name| format!("{row}: there is no test `{name}`")));
    }
    let missing = expected.iter().filter(|row| !found.contains(row.as_str()));
    complaints.extend(missing.map(|row| format!("there is no row {row}")));
    complaints
}

/// The names of all test functions in the files below the folders.
fn tests_below(folders: &[PathBuf]) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    let mut folders = folders.to_vec();
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).expect("the sources can be read") {
            let path = item.expect("the sources can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                let mut is_test = false;
                for line in text.lines().map(str::trim) {
                    if let Some(rest) = line.strip_prefix("fn ").filter(|_| is_test) {
                        tests.extend(rest.split('(').next().map(str::to_owned));
                    }
                    is_test = line == "#[test]"
                        || is_test && line.starts_with("#[") && !line.starts_with("#[ignore");
                }
            }
        }
    }
    tests
}
