//! Rules the compiler cannot check: the wall around the core, the direction of the arrows, what is left behind, what
//! is linked. Each rule is a function from sources to complaints, shown below to be able to complain.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// What a module may name of the others, in the order a packet meets them. A new module needs its line here.
const ARROWS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("id", &[]),
    ("frame", &["time"]),
    ("rtp", &["time"]),
    ("codec", &["time", "frame"]),
    ("sdp", &["frame", "codec"]),
    ("dsp", &["time", "frame"]),
    ("jitter", &["time", "frame", "rtp", "codec", "dsp"]),
    ("stream", &["time", "frame", "codec", "dsp"]),
    (
        "leg",
        &["time", "id", "frame", "rtp", "codec", "dsp", "jitter", "stream"],
    ),
    ("room", &["time", "id", "frame", "codec", "dsp", "stream"]),
    (
        "engine",
        &[
            "time", "id", "frame", "rtp", "codec", "dsp", "jitter", "stream", "leg", "room",
        ],
    ),
    // The shell may use all of the core; what it may use of itself:
    ("driver", &["record"]),
    ("record", &[]),
    ("config", &[]),
    ("control", &["config", "driver", "record"]),
    ("load", &[]),
    ("demo", &["config", "driver", "record", "control", "load"]),
];

/// The modules of the table up to this one are the core.
const LAST_OF_THE_CORE: &str = "engine";

/// What the core does without, and what it would be.
const NOT_IN_THE_CORE: &[(&str, &str)] = &[
    ("Instant", "a clock"),
    ("SystemTime", "a clock"),
    ("UdpSocket", "a socket"),
    ("TcpStream", "a socket"),
    ("TcpListener", "a socket"),
    ("UnixDatagram", "a socket"),
    ("UnixStream", "a socket"),
    ("socket2", "a socket"),
    ("std::fs", "a file"),
    ("File", "a file"),
    ("std::thread", "a thread"),
    ("thread::", "a thread"),
    ("thread_local!", "a thread"),
    ("Mutex", "a lock"),
    ("RwLock", "a lock"),
    ("Condvar", "a lock"),
    ("mpsc", "a lock"),
    (".await", "an await"),
    ("async", "an await"),
    ("tokio", "an await"),
    ("print!", "a log"),
    ("println!", "a log"),
    ("eprint!", "a log"),
    ("eprintln!", "a log"),
    ("tracing", "a log"),
    ("getrandom", "chance that no seed replays"),
    ("uuid", "chance that no seed replays"),
];

const UNFINISHED: &[&str] = &["dbg!", "todo!", "unimplemented!"];

const LINES_MAX: usize = 700;

/// Licences that ask for no more than a notice.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Additions that only permit more.
const PERMISSIVE_ADDITIONS: &[&str] = &["LLVM-exception"];

#[test]
fn the_core_has_no_clock_socket_thread_lock_or_await() {
    assert_tidy(&all_of_src(), impurities);
}

#[test]
fn arrows_point_up_the_list_of_modules() {
    assert_tidy(&all_of_src(), wrong_arrows);
}

#[test]
fn every_file_is_reachable_as_a_module() {
    assert_tidy(&all_of_src(), unreachable_files);
}

#[test]
fn no_file_is_longer_than_a_sitting() {
    assert_tidy(&all_of_src(), long_files);
}

#[test]
fn nothing_unfinished_is_left_behind() {
    assert_tidy(&all_of_src(), unfinished);
}

#[test]
fn every_unsafe_says_why_it_is_sound() {
    assert_tidy(&all_of_src(), unexplained_unsafe);
}

#[test]
fn everything_linked_offers_a_permissive_licence() {
    let unfree = unfree_packages(&metadata());
    assert!(
        unfree.is_empty(),
        "no permissive licence is offered by\n{}",
        unfree.join("\n")
    );
}

/// One file of `src`.
struct Source {
    /// Relative to `src`, such as `leg/receive.rs`.
    path: String,
    text: String,
    /// Without comments, strings and tests, line by line as in `text`.
    code: String,
}

type Sources = BTreeMap<String, Source>;

fn assert_tidy(sources: &Sources, rule: fn(&Sources) -> Vec<String>) {
    assert!(sources.len() > 10, "the sources are found");
    let complaints = rule(sources);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn all_of_src() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).expect("src can be read") {
            let path = item.expect("src can be read").path();
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
fn sources(files: Vec<(String, String)>) -> Sources {
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
fn children_of(path: &str) -> String {
    let stem = path.trim_end_matches(".rs");
    match stem.strip_suffix("mod").filter(|folder| folder.ends_with('/')) {
        Some(folder) => folder.to_owned(),
        None if stem == "lib" || stem == "main" => String::new(),
        None => format!("{stem}/"),
    }
}

fn impurities(sources: &Sources) -> Vec<String> {
    let last = ARROWS
        .iter()
        .position(|(module, _)| *module == LAST_OF_THE_CORE)
        .expect("in the table");
    let core = &ARROWS[..=last];
    let mut complaints = Vec::new();
    for source in sources
        .values()
        .filter(|source| core.iter().any(|(module, _)| *module == module_of(source)))
    {
        for (number, line) in numbered(&source.code) {
            for (word, what) in NOT_IN_THE_CORE {
                if has_word(line, word) {
                    complaints.push(format!(
                        "src/{}:{number}: `{word}`: the core has not {what}",
                        source.path
                    ));
                }
            }
        }
    }
    complaints
}

fn wrong_arrows(sources: &Sources) -> Vec<String> {
    let last = ARROWS
        .iter()
        .position(|(module, _)| *module == LAST_OF_THE_CORE)
        .expect("in the table");
    let is_core = |module: &str| ARROWS[..=last].iter().any(|(core, _)| *core == module);
    let mut complaints = Vec::new();
    for source in sources.values() {
        let module = module_of(source);
        if matches!(module, "lib" | "bin") {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(listed, _)| *listed == module) else {
            complaints.push(format!(
                "src/{}: `{module}` has no line in ARROWS of tests/suite/tidy.rs",
                source.path
            ));
            continue;
        };
        for named in named_modules(&source.code) {
            let is_allowed = allowed.contains(&&named[..]) || (!is_core(module) && is_core(&named));
            if named != module && !is_allowed {
                complaints.push(format!("src/{}: `{module}` must not know `{named}`", source.path));
            }
        }
        let depth = children_of(&source.path).matches('/').count();
        if source.code.contains(&"super::".repeat(depth)) {
            complaints.push(format!(
                "src/{}: another module is named from `crate::`, not from above",
                source.path
            ));
        }
    }
    complaints
}

/// The top-level modules named with `crate::`, also in braces.
fn named_modules(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(is_part_of_a_word) {
            continue;
        }
        let rest = code[at + "crate::".len()..].trim_start();
        match rest.strip_prefix('{') {
            None => named.push(word_at_start(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut is_start = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => is_start = true,
                        c if is_start && is_part_of_a_word(c) => {
                            named.push(word_at_start(&group[at..]));
                            is_start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    named.sort();
    named.dedup();
    named
}

fn unreachable_files(sources: &Sources) -> Vec<String> {
    let mut complaints = Vec::new();
    for path in sources.keys() {
        if path == "lib.rs" || path.starts_with("bin/") {
            continue;
        }
        let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let (folder, module) = stem.rsplit_once('/').unwrap_or(("", stem));
        let parents = match folder {
            "" => vec!["lib.rs".to_owned()],
            folder => vec![format!("{folder}/mod.rs"), format!("{folder}.rs")],
        };
        let declares = |parent: &String| {
            sources.get(parent).is_some_and(|parent| {
                let plain = without_comments_and_strings(&parent.text);
                has_word(&plain, &format!("mod {module};"))
            })
        };
        if !parents.iter().any(declares) {
            complaints.push(format!(
                "src/{path}: no `mod {module};` in src/{}",
                parents.join(" or src/")
            ));
        }
    }
    complaints
}

fn long_files(sources: &Sources) -> Vec<String> {
    let long = |source: &&Source| source.text.lines().count() > LINES_MAX;
    let complaint = |source: &Source| format!("src/{}: more than {LINES_MAX} lines", source.path);
    sources.values().filter(long).map(complaint).collect()
}

fn unfinished(sources: &Sources) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.values() {
        let plain = without_comments_and_strings(&source.text);
        for (number, line) in numbered(&plain) {
            for word in UNFINISHED.iter().filter(|word| has_word(line, word)) {
                complaints.push(format!("src/{}:{number}: `{word}`", source.path));
            }
        }
    }
    complaints
}

/// `SAFETY:` (or `# Safety` in the docs of an unsafe function) within three lines above, or in the comments and
/// attributes right above.
fn unexplained_unsafe(sources: &Sources) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.values() {
        let plain = without_comments_and_strings(&source.text);
        let lines: Vec<_> = source.text.lines().collect();
        for (number, line) in numbered(&plain) {
            if !has_word(&line.replace("unsafe(", ""), "unsafe") {
                continue;
            }
            let says_why = |line: &&str| line.contains("SAFETY:") || line.contains("# Safety");
            let is_note =
                |line: &&str| line.trim_start().starts_with("//") || line.trim_start().starts_with("#[");
            let (near, above) = (
                lines[..number].iter().rev().take(4),
                lines[..number - 1].iter().rev(),
            );
            if !near.copied().any(|line| says_why(&line))
                && !above.copied().take_while(is_note).any(|line| says_why(&line))
            {
                complaints.push(format!(
                    "src/{}:{number}: `unsafe` without a line `// SAFETY:`",
                    source.path
                ));
            }
        }
    }
    complaints
}

/// What `cargo` resolves for the machine the tests run on: packages of other platforms need not be downloaded.
fn metadata() -> Metadata {
    let version = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8(version.stdout).expect("plain text");
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc names its host");
    MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .other_options(["--locked", "--filter-platform", host].map(str::to_owned))
        .exec()
        .expect("cargo metadata runs")
}

/// Packages in the program or its build scripts, from which no permissive licence can be had.
fn unfree_packages(metadata: &Metadata) -> Vec<String> {
    let resolve = metadata.resolve.as_ref().expect("asked for");
    let root = resolve.root.as_ref().expect("a package, not a workspace");
    let mut linked = Vec::new();
    let mut to_visit = vec![root];
    while let Some(id) = to_visit.pop() {
        if linked.contains(&id) {
            continue;
        }
        linked.push(id);
        let node = resolve
            .nodes
            .iter()
            .find(|node| node.id == *id)
            .expect("each package has a node");
        for dependency in &node.deps {
            if dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind != DependencyKind::Development)
            {
                to_visit.push(&dependency.pkg);
            }
        }
    }
    assert!(linked.len() > 50, "the graph is walked");
    let linked = linked.into_iter().map(|id| &metadata[id]);
    let unfree = linked.filter(|package| !offers_permissive(package.license.as_deref()));
    unfree
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.license))
        .collect()
}

/// Whether the terms can be met with permissive licences alone; `None` and what is no SPDX expression cannot.
fn offers_permissive(license: Option<&str>) -> bool {
    let expression =
        license.and_then(|license| spdx::Expression::parse_mode(license, spdx::ParseMode::LAX).ok());
    expression.is_some_and(|expression| {
        expression.evaluate(|required| {
            let is_permissive = required
                .license
                .id()
                .is_some_and(|id| PERMISSIVE.contains(&id.name));
            let adds_permissions = required.addition.as_ref().is_none_or(|addition| {
                addition
                    .id()
                    .is_some_and(|id| PERMISSIVE_ADDITIONS.contains(&id.name))
            });
            is_permissive && adds_permissions
        })
    })
}

/// The top-level module of a file: `leg` for `leg/receive.rs`, `time` for `time.rs`.
fn module_of(source: &Source) -> &str {
    source
        .path
        .split(['/', '.'])
        .next()
        .expect("split gives at least one")
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

fn is_part_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word_at_start(text: &str) -> String {
    text.chars().take_while(|&c| is_part_of_a_word(c)).collect()
}

/// Whether `text` has `word` and not just a longer word around it.
fn has_word(text: &str, word: &str) -> bool {
    let ends_in_word = |end: Option<char>| end.is_some_and(is_part_of_a_word);
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        let goes_on_before = ends_in_word(word.chars().next()) && ends_in_word(before.chars().next_back());
        let goes_on_after = ends_in_word(word.chars().next_back()) && ends_in_word(after.chars().next());
        !goes_on_before && !goes_on_after
    })
}

/// Takes comments and the inside of string and character literals out; lines stay lines.
fn without_comments_and_strings(text: &str) -> String {
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

mod rules_can_complain {
    use super::*;

    fn one(path: &str, text: &str) -> Sources {
        several(&[(path, text)])
    }

    fn several(files: &[(&str, &str)]) -> Sources {
        sources(
            files
                .iter()
                .map(|(path, text)| (path.to_string(), text.to_string()))
                .collect(),
        )
    }

    #[test]
    fn the_core_with_a_clock() {
        let complaints = impurities(&one(
            "room/mod.rs",
            "use std::time::Duration;\nlet now = Instant::now();",
        ));
        assert_eq!(
            complaints,
            ["src/room/mod.rs:2: `Instant`: the core has not a clock"]
        );
    }

    #[test]
    fn the_core_with_anything_else_that_blocks_or_surprises() {
        for bad in [
            "SystemTime::now()",
            "std::net::UdpSocket::bind",
            "use std::thread;",
            "thread::spawn(f)",
            "Arc<Mutex<u8>>",
            "RwLock::new(0)",
            "reply.await",
            "async fn tick() {}",
            "use tokio::sync::oneshot;",
            "println!()",
            "tracing::info!()",
            "use std::fs;",
        ] {
            assert!(!impurities(&one("time.rs", bad)).is_empty(), "{bad}");
        }
    }

    #[test]
    fn but_not_of_words_texts_tests_and_the_shell() {
        for good in [
            "// an Instant, a Mutex",
            "/* Mutex /* RwLock */ Mutex */ struct A;",
            "let text = \"Mutex \\\" Mutex\";",
            "let text = r#\"Mutex \" Mutex\"#;",
            "let c = ['\"', '\\'', 'm']; fn f<'a>(a: &'a str) {}",
            "struct Instantaneous; fn synthesise_async_noise() {}",
            "#[cfg(test)]\nmod tests {\n    use std::thread;\n    fn f() { Mutex::new([0; 3]); }\n}",
            "#[cfg(test)]\nuse std::time::Instant;",
        ] {
            assert_eq!(impurities(&one("time.rs", good)), [""; 0], "{good}");
        }
        assert_eq!(impurities(&one("driver/clock.rs", "Instant::now()")), [""; 0]);
        let with_tests = [
            ("dsp/mod.rs", "#[cfg(test)]\nmod tests;"),
            ("dsp/tests.rs", "use std::thread;"),
        ];
        assert_eq!(impurities(&several(&with_tests)), [""; 0]);
        assert_eq!(
            impurities(&one(
                "time.rs",
                "#[cfg(test)]\nfn f(a: [u8; 2]) { let b = 1; }\nlet lock = Mutex::new();"
            )),
            ["src/time.rs:3: `Mutex`: the core has not a lock"],
            "what follows a test is looked at again"
        );
    }

    #[test]
    fn an_arrow_down_the_list() {
        for (path, bad) in [
            ("rtp/packet.rs", "use crate::leg::Leg;"),
            ("room/mod.rs", "use crate::rtp::packet::Header;"),
            (
                "room/mod.rs",
                "use crate::{frame::{Rate, FrameBuffer}, leg::Leg};",
            ),
            ("leg/send.rs", "let room: &crate::room::Room = room;"),
            ("engine/mod.rs", "use crate::driver::Clock;"),
            ("engine/tick.rs", "use crate::record::RecordedFrame;"),
            ("codec/mod.rs", "use crate::config;"),
            ("record/tap.rs", "use crate::driver::Worker;"),
            ("driver/mod.rs", "use crate::control::Service;"),
            ("leg/send.rs", "use super::super::room::Room;"),
            ("room/mod.rs", "use super::leg::Leg;"),
            ("novelty.rs", ""),
        ] {
            assert_eq!(wrong_arrows(&one(path, bad)).len(), 1, "{path}: {bad}");
        }
    }

    #[test]
    fn but_not_an_arrow_up_the_list() {
        for (path, good) in [
            (
                "engine/mod.rs",
                "use crate::{leg, room::Room};\nuse crate::engine::event::Event;",
            ),
            ("leg/send.rs", "use super::Leg; // never crate::room"),
            ("record/tap.rs", "use crate::engine::outbox::RecordedMix;"),
            (
                "record/take.rs",
                "#[cfg(test)]\nmod tests { use super::super::wav; use crate::control::Service; }",
            ),
            ("rtp/mod.rs", "use other_crate::leg::Leg;"),
            ("bin/mixminus.rs", "use crate::anything;"),
        ] {
            assert_eq!(wrong_arrows(&one(path, good)), [""; 0], "{path}: {good}");
        }
    }

    #[test]
    fn a_file_nobody_declares() {
        let files = [
            ("lib.rs", "pub mod leg; // mod lost;"),
            ("leg/mod.rs", "mod send;"),
            ("leg/send.rs", "#[cfg(test)]\nmod tests;"),
            ("leg/send/tests.rs", ""),
            ("leg/lost.rs", ""),
            ("lost.rs", ""),
            ("bin/mixminus.rs", ""),
        ];
        assert_eq!(
            unreachable_files(&several(&files)),
            [
                "src/leg/lost.rs: no `mod lost;` in src/leg/mod.rs or src/leg.rs",
                "src/lost.rs: no `mod lost;` in src/lib.rs"
            ]
        );
    }

    #[test]
    fn a_file_that_is_too_long() {
        assert_eq!(long_files(&one("time.rs", &"\n".repeat(700))), [""; 0]);
        assert_eq!(
            long_files(&one("time.rs", &"\n".repeat(701))),
            ["src/time.rs: more than 700 lines"]
        );
    }

    #[test]
    fn what_was_left_for_later_also_in_tests() {
        for bad in [
            "dbg!(x);",
            "todo!()",
            "#[cfg(test)]\nmod tests { fn f() { unimplemented!() } }",
        ] {
            assert_eq!(unfinished(&one("load/mod.rs", bad)).len(), 1, "{bad}");
        }
        assert_eq!(
            unfinished(&one("load/mod.rs", "// todo!()\nlet a = \"dbg!\";")),
            [""; 0]
        );
    }

    #[test]
    fn unsafe_without_a_reason() {
        for bad in [
            "unsafe { load(p) }",
            "// SAFETY: far away\n\n\n\nunsafe { load(p) }",
            "unsafe fn load() {}",
            "unsafe impl Send for A {}",
        ] {
            assert_eq!(unexplained_unsafe(&one("dsp/mix.rs", bad)).len(), 1, "{bad}");
        }
        for good in [
            "// SAFETY: checked\nunsafe { load(p) }",
            "// SAFETY: checked,\n// at length,\n// and in\n// many words\nunsafe { load(p) }",
            "/// # Safety\n/// The caller checks.\n#[cfg(a)]\n#[cfg(b)]\n#[inline]\nunsafe fn load() {}",
            "#[unsafe(no_mangle)]\nfn f() {}",
            "#![deny(unsafe_op_in_unsafe_fn)]",
            "// unsafe",
        ] {
            assert_eq!(unexplained_unsafe(&one("dsp/mix.rs", good)), [""; 0], "{good}");
        }
    }

    #[test]
    fn a_licence_that_asks_for_more_than_a_notice() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
            "GPL-3.0 OR BSD-3-Clause",
        ] {
            assert!(offers_permissive(Some(good)), "{good}");
        }
        for bad in [
            "GPL-3.0-only",
            "LGPL-2.1-or-later",
            "MPL-2.0",
            "MIT AND GPL-2.0-only",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "AGPL-3.0 OR SSPL-1.0",
            "LicenseRef-ours",
            "see the file",
            "",
        ] {
            assert!(!offers_permissive(Some(bad)), "{bad}");
        }
        assert!(!offers_permissive(None));
    }

    #[test]
    fn a_package_is_named_that_offers_nothing_permissive() {
        let mut metadata = metadata();
        assert_eq!(unfree_packages(&metadata), [""; 0]);
        let linked = metadata
            .packages
            .iter_mut()
            .find(|package| package.name == "tokio")
            .expect("linked");
        linked.license = Some("GPL-3.0-only".to_owned());
        let for_tests = metadata
            .packages
            .iter_mut()
            .find(|package| package.name == "criterion")
            .expect("for tests");
        for_tests.license = Some("GPL-3.0-only".to_owned());
        let unfree = unfree_packages(&metadata);
        assert_eq!(unfree.len(), 1, "{unfree:?}");
        assert!(unfree[0].starts_with("tokio "));
    }
}
