//! The sources as the rules read them: files below a folder, with and without comments, strings and tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::is_part_of_a_word;

/// One file of `src`.
pub struct Source {
    /// Relative to the folder, such as `leg/receive.rs`.
    pub path: String,
    pub text: String,
    /// Without comments, strings and tests, line by line as in `text`.
    pub code: String,
}

pub type Sources = BTreeMap<String, Source>;

pub fn all_of_src() -> Sources {
    all_below("src")
}

pub fn all_of_the_suite() -> Sources {
    all_below("tests/suite")
}

fn all_below(root: &str) -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).expect("sources can be read") {
            let path = item.expect("sources can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(&root)
                    .expect("found below it")
                    .to_str()
                    .expect("plain names");
                files.push((
                    name.to_owned(),
                    fs::read_to_string(&path).expect("sources are UTF-8"),
                ));
            }
        }
    }
    sources(files)
}

/// The sources and what they declare; files that are declared for tests only have no code.
pub fn sources(files: Vec<(String, String)>) -> Sources {
    let mut sources = Sources::new();
    let mut for_tests = Vec::new();
    for (path, text) in files {
        let plain = without_comments_and_strings(&text);
        let (code, test_modules) = without_tests(&plain);
        for_tests.extend(
            test_modules
                .iter()
                .map(|module| format!("{}{module}", children_of(&path))),
        );
        sources.insert(path.clone(), Source { path, text, code });
    }
    for source in sources.values_mut() {
        let is_for_tests = |stem: &String| {
            source.path == format!("{stem}.rs") || source.path.starts_with(&format!("{stem}/"))
        };
        if for_tests.iter().any(is_for_tests) {
            source.code = String::new();
        }
    }
    sources
}

/// Where the modules declared in a file are: `leg/` for `leg/mod.rs`, `record/take/` for `record/take.rs`.
pub fn children_of(path: &str) -> String {
    let stem = path.trim_end_matches(".rs");
    match stem.strip_suffix("mod").filter(|folder| folder.ends_with('/')) {
        Some(folder) => folder.to_owned(),
        None if stem == "lib" || stem == "main" => String::new(),
        None => format!("{stem}/"),
    }
}

/// Takes comments and the inside of string and character literals out; lines stay lines.
pub fn without_comments_and_strings(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !plain.ends_with(is_part_of_a_word)) {
            length
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && (rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'')) {
            quoted(rest, '\'')
        } else {
            plain.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        plain.extend(rest[..skipped].chars().filter(|&c| c == '\n'));
        rest = &rest[skipped..];
    }
    plain
}

/// The length of the block comment at the start; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of the raw string at the start, `r"…"` or `r#"…"#`, with or without a `b` or `c` before it.
fn raw_string(text: &str) -> Option<usize> {
    let after_r = text.strip_prefix(['b', 'c']).unwrap_or(text).strip_prefix('r')?;
    let inside = after_r.trim_start_matches('#');
    let hashes = &after_r[..after_r.len() - inside.len()];
    let inside = inside.strip_prefix('"')?;
    let end = format!("\"{hashes}");
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(text.len() - inside.len() + length)
}

/// The length of the literal at the start, up to the quote that no backslash escapes.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Takes each item under `#[cfg(test)]` out, lines staying lines; gives the modules that are files among them.
fn without_tests(plain: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let mut code = String::new();
    let mut modules = Vec::new();
    let mut rest = plain;
    while let Some(at) = rest.find(MARK) {
        let (before, item) = rest.split_at(at);
        code.push_str(before);
        let mut depth = 0;
        let end = item[MARK.len()..].char_indices().find_map(|(at, c)| {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
            (depth == 0 && matches!(c, '}' | ';')).then_some(MARK.len() + at + 1)
        });
        let (item, after) = item.split_at(end.unwrap_or(item.len()));
        if let Some((_, module)) = item
            .trim_end_matches(';')
            .rsplit_once("mod ")
            .filter(|_| item.ends_with(';'))
        {
            modules.push(module.trim().to_owned());
        }
        code.extend(item.chars().filter(|&c| c == '\n'));
        rest = after;
    }
    code.push_str(rest);
    (code, modules)
}
