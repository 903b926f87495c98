//! Each rule on a source that breaks it, and on one that only looks as if it did.

use super::source::sources;
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
        ("record/tap.rs", "use crate::engine::outbox::Tapped;"),
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

#[test]
fn a_key_without_a_word_about_it() {
    let default = "[http]\n# Where.\nlisten = 1\nbare = 2\n\n[rtp]\n# listen = 3\n# Which.\nports = 4\n";
    let keys = [
        "http.listen",
        "http.bare",
        "rtp.listen",
        "rtp.ports",
        "rtp.missing",
    ]
    .map(str::to_owned);
    assert_eq!(
        undocumented_keys(default, &keys),
        ["http.bare", "rtp.listen", "rtp.missing"]
    );
}

#[test]
fn a_daemon_of_the_suite_whose_log_nobody_searches() {
    let text = "use mixminus::control::daemon::Daemon;";
    assert!(unsearched_logs(&one("support/http.rs", text)).is_empty());
    assert_eq!(
        unsearched_logs(&one("control/a.rs", text)),
        ["tests/suite/control/a.rs: `control::daemon::Daemon` stands in support/http.rs only"]
    );
}

#[test]
fn a_log_line_that_calls_a_leg_something_else() {
    let text = r#"
        tracing::info!(conference = %id, call_id = 7, recording = status.recording_id, "room = {room}");
        tracing::warn!(target: READY, %error, job.recording_id, "leg = 3");
        info!(leg = 1);
    "#;
    assert_eq!(
        misnamed_fields(&one("control/a.rs", text)),
        [
            "src/control/a.rs:2: the field `call_id` of a log line is called `call`",
            "src/control/a.rs:3: the field `recording_id` of a log line is called `recording`",
        ]
    );
}
