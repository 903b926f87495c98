//! Rules the compiler cannot check: the wall around the core, the direction of the arrows, what is left behind, what
//! is linked. Each rule is a function from sources to complaints, shown below to be able to complain.

mod deployment;
mod faults;
mod logs;
mod rules_can_complain;
mod source;

use std::path::Path;
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use logs::{misnamed_fields, unsearched_logs};
use source::{Source, Sources, all_of_src, all_of_the_suite, children_of, without_comments_and_strings};

/// What a module may name of the others, in the order a packet meets them. A new module needs its line here.
const ARROWS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("id", &[]),
    ("frame", &["time"]),
    ("rtp", &["time"]),
    ("srtp", &["time", "rtp"]),
    ("codec", &["time", "frame"]),
    ("sdp", &["frame", "srtp", "codec"]),
    ("dsp", &["time", "frame"]),
    ("dtmf", &["time", "frame", "dsp"]),
    ("jitter", &["time", "frame", "rtp", "codec", "dsp"]),
    ("stream", &["time", "frame", "codec", "dsp"]),
    ("capture", &["time", "id", "frame", "dsp"]),
    (
        "leg",
        &[
            "time", "id", "frame", "rtp", "srtp", "codec", "dsp", "dtmf", "jitter", "stream", "capture",
        ],
    ),
    (
        "room",
        &["time", "id", "frame", "codec", "dsp", "stream", "capture"],
    ),
    (
        "engine",
        &[
            "time", "id", "frame", "rtp", "srtp", "codec", "dsp", "dtmf", "jitter", "stream", "capture",
            "leg", "room",
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
fn logs_call_rooms_legs_and_recordings_by_one_name() {
    assert_tidy(&all_of_src(), misnamed_fields);
}

#[test]
fn every_daemon_of_the_suite_has_its_log_searched_for_secrets() {
    assert_tidy(&all_of_the_suite(), unsearched_logs);
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

#[test]
fn every_configuration_key_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/default.toml");
    let default = std::fs::read_to_string(path).expect("config/default.toml is there");
    let undocumented = undocumented_keys(&default, &mixminus::config::keys());
    assert!(
        undocumented.is_empty(),
        "without a comment above it in config/default.toml: {undocumented:?}"
    );
}

fn assert_tidy(sources: &Sources, rule: fn(&Sources) -> Vec<String>) {
    assert!(sources.len() > 10, "the sources are found");
    let complaints = rule(sources);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
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

/// Keys, as `section.key`, that do not stand in the file in their section with a comment right above.
fn undocumented_keys(default: &str, keys: &[String]) -> Vec<String> {
    let mut section = "";
    let mut above = "";
    let mut documented = Vec::new();
    for line in default.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| above.starts_with("# ")) {
            documented.push(format!("{section}.{key}"));
        }
        above = line;
    }
    keys.iter()
        .filter(|key| !documented.contains(key))
        .cloned()
        .collect()
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
