//! Each row of the table of what a daemon survives (`tests/faults.md`) has tests: those it names, and those whose doc
//! comment says `Fault row` with its number.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rows that wait for their first test.
const STILL_TO_COME: &[&str] = &[];

/// Long tests are ignored for this reason only: `make torture` runs them, so they hold a row as well.
const LONG: &str = "#[ignore = \"long: make torture\"]";

/// This file, whose examples of tests are none.
const HERE: &str = "tidy/faults.rs";

/// What a test says of the row that it holds.
const HOLDS: &str = "Fault row ";

/// What the table must have a row for: media, what recordings survive, control, and the system around the daemon. M11
/// and M12 come with the WebRTC legs, S6 with several nodes.
fn rows() -> BTreeSet<String> {
    let numbered = |letter: &'static str, last: u8, without: &'static [u8]| {
        let numbers = (1..=last).filter(|number| !without.contains(number));
        numbers.map(move |number| format!("{letter}{number}"))
    };
    numbered("M", 23, &[11, 12])
        .chain(numbered("R", 5, &[]))
        .chain(numbered("C", 9, &[]))
        .chain(numbered("S", 8, &[6]))
        .collect()
}

/// By name: the rows that the test says it holds.
type Tests = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_row_of_the_table_of_faults_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("tests/faults.md")).expect("the table is there");
    let tests = tests_below(&[root.join("src"), root.join("tests")]);
    let complaints = complaints(&table, &tests, STILL_TO_COME);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn a_row_without_a_test_or_with_a_wrong_one_is_told() {
    let mut tests = tests_in("#[test]\nfn a_test_there_is() {}");
    let mut table: String = rows()
        .iter()
        .map(|row| format!("| {row} | in | out | `a_test_there_is` |\n"))
        .collect();
    assert_eq!(complaints(&table, &tests, &[]), [""; 0]);
    table = table.replace("| M3 | in | out | `a_test_there_is` |\n", "");
    let without = |row: &str| format!("| {row} | in `a` | out |  |");
    for row in ["C2", "M5", "S4"] {
        table = table.replace(
            &format!("| {row} | in | out | `a_test_there_is` |"),
            &without(row),
        );
    }
    table = table.replace(
        "| M7 | in | out | `a_test_there_is` |",
        "| M7 | in | out | `a_test_there_was` |",
    );
    tests.extend(tests_in("/// Fault row C2.\n#[test]\nfn another() {}"));
    assert_eq!(
        complaints(&table, &tests, &["S4"]),
        [
            "M5 has no test",
            "M7: there is no test `a_test_there_was`",
            "there is no row M3",
        ]
    );
    tests.extend(tests_in("/// Fault row C99.\n#[test]\nfn a_third() {}"));
    let told = complaints(&table, &tests, &["S4"]);
    assert_eq!(
        told.last().unwrap(),
        "`a_third` says that it holds C99, which is no row"
    );
}

#[test]
fn tests_are_found_with_the_rows_they_hold_unless_nobody_runs_them() {
    let tests = tests_in(
        r#"
        /// Fault row S5. More is said.
        /// Fault rows are also named like this: Fault row C3.
        #[tokio::test]
        async fn first() {}

        /// Fault row S1.
        fn not_a_test() {}

        /// Fault row S8.
        #[test]
        #[ignore = "long: make torture"]
        fn long() {}

        #[test]
        #[ignore]
        fn forgotten() {}
        "#,
    );
    let rows = |name: &str| tests[name].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(tests.keys().collect::<Vec<_>>(), ["first", "long"]);
    assert_eq!((rows("first"), rows("long")), (vec!["C3", "S5"], vec!["S8"]));
}

fn complaints(table: &str, tests: &Tests, still_to_come: &[&str]) -> Vec<String> {
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
        let is_held = !named.is_empty() || tests.values().any(|rows| rows.contains(*row));
        if !is_held && !still_to_come.contains(row) {
            complaints.push(format!("{row} has no test"));
        }
        let missing = named.into_iter().filter(|name| !tests.contains_key(*name));
        complaints.extend(missing.map(|name| format!("{row}: there is no test `{name}`")));
    }
    let missing = expected.iter().filter(|row| !found.contains(row.as_str()));
    complaints.extend(missing.map(|row| format!("there is no row {row}")));
    for (name, rows) in tests {
        let unknown = rows.iter().filter(|row| !expected.contains(*row));
        complaints.extend(unknown.map(|row| format!("`{name}` says that it holds {row}, which is no row")));
    }
    complaints
}

/// The test functions in all files below the folders.
fn tests_below(folders: &[PathBuf]) -> Tests {
    let mut tests = Tests::new();
    let mut folders = folders.to_vec();
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).expect("the sources can be read") {
            let path = item.expect("the sources can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with(HERE) {
                tests.extend(tests_in(&fs::read_to_string(&path).expect("sources are UTF-8")));
            }
        }
    }
    tests
}

fn tests_in(text: &str) -> Tests {
    let mut tests = Tests::new();
    let mut holds = BTreeSet::new();
    let (mut is_test, mut is_run) = (false, true);
    for line in text.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            let rows = doc.split(HOLDS).skip(1);
            holds.extend(rows.filter_map(|rest| rest.split(['.', ' ', ',', ':']).next().map(str::to_owned)));
        } else if line.starts_with("#[") {
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            is_run &= !line.starts_with("#[ignore") || line == LONG;
        } else {
            let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            if let Some(name) = function
                .and_then(|rest| rest.split('(').next())
                .filter(|_| is_test && is_run)
            {
                tests.insert(name.to_owned(), std::mem::take(&mut holds));
            }
            holds.clear();
            (is_test, is_run) = (false, true);
        }
    }
    tests
}
