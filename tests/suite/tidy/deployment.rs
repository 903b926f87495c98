//! What stands below `config/` for machines and clusters names no key that the program does not have.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mixminus::config::Config;

/// Files that tell others how to run the daemon.
fn manifests() -> Vec<PathBuf> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let in_folder = |folder: &str| {
        let items = fs::read_dir(config.join(folder)).expect("the folder is there");
        items
            .map(|item| item.expect("it can be read").path())
            .collect::<Vec<_>>()
    };
    let mut manifests = in_folder("systemd");
    manifests.extend(in_folder("kubernetes"));
    manifests.push(config.join("compose.yaml"));
    manifests
}

#[test]
fn units_and_manifests_name_only_keys_that_there_are() {
    let keys: BTreeSet<String> = mixminus::config::keys().into_iter().collect();
    let mut complaints = Vec::new();
    for path in manifests() {
        let text = fs::read_to_string(&path).expect("it is text");
        let strangers = keys_named_in(&text, &keys)
            .into_iter()
            .filter(|key| !keys.contains(key));
        complaints.extend(strangers.map(|key| format!("{}: there is no key {key}", path.display())));
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_configuration_in_the_manifests_is_one_that_the_daemon_takes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/kubernetes/mixminus.yaml");
    let manifest = fs::read_to_string(path).expect("it is there");
    let toml = block_of(&manifest, "mixminus.toml: |");
    assert!(toml.contains("[http]\n"), "{toml}");
    let file = std::env::temp_dir().join(format!("mixminus-manifest-{}.toml", std::process::id()));
    fs::write(&file, toml).unwrap();
    let advertise = ("MIXMINUS_RTP__ADVERTISE".to_owned(), "192.0.2.1".to_owned());
    let config = Config::load(Some(file.clone()), [advertise], &[]);
    fs::remove_file(file).unwrap();
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    // Who reaches the daemon has to show a key, and has the time to see its rooms end.
    assert!(config.auth.keys_file.is_some());
    let grace = number_after(&manifest, "terminationGracePeriodSeconds: ");
    assert!(grace > config.drain.deadline.as_secs() + 20, "{grace} s");
}

#[test]
fn systemd_gives_the_daemon_the_time_that_its_drain_takes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd/mixminus.service");
    let unit = fs::read_to_string(path).expect("it is there");
    let deadline = Config::defaults().drain.deadline.as_secs();
    assert!(number_after(&unit, "\nTimeoutStopSec=") > deadline + 20);
    for line in [
        "Type=notify-reload",
        "LimitRTPRIO=20",
        "LimitNICE=-5",
        "LimitMEMLOCK=infinity",
        "NoNewPrivileges=yes",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    assert!(
        !unit.contains("RestrictRealtime=yes"),
        "media threads run under SCHED_FIFO"
    );
}

/// What `LoadCredential=`, an init container or a subPath makes is a copy that stays as it was, whatever becomes of keys.
#[test]
fn keys_are_read_where_they_are_changed() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let settings = |path: &str| {
        let text = fs::read_to_string(config.join(path)).expect("it is there");
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let unit = settings("systemd/mixminus.service");
    assert!(unit.contains("MIXMINUS_AUTH__KEYS_FILE=/etc/mixminus/keys\n"));
    for copies in ["LoadCredential", "%d/", "DynamicUser=yes"] {
        assert!(!unit.contains(copies), "{copies}");
    }
    let manifest = settings("kubernetes/mixminus.yaml");
    assert!(manifest.contains("secretName: mixminus-keys, defaultMode: 0440"));
    assert!(manifest.contains("keys_file = \"/run/mixminus/keys\""));
    assert!(manifest.contains("{ name: keys, mountPath: /run/mixminus, readOnly: true }"));
    for copies in ["initContainers", "subPath:", "emptyDir"] {
        assert!(!manifest.contains(copies), "{copies}");
    }
}

#[test]
fn a_key_that_is_not_there_is_told() {
    let keys = BTreeSet::from(["http.listen".to_owned(), "drain.deadline_s".to_owned()]);
    let text =
        "env: MIXMINUS_HTTP__LISTEN, MIXMINUS_HTTP__LISTNE=1 # drain.deadline_s, drain.dedline_s, a.b, http.";
    let named = keys_named_in(text, &keys);
    let expected = [
        "drain.deadline_s",
        "drain.dedline_s",
        "http.listen",
        "http.listne",
    ];
    assert_eq!(named.into_iter().collect::<Vec<_>>(), expected);
}

/// Variables of the environment as keys, and words that begin with one of the sections and a point.
fn keys_named_in(text: &str, keys: &BTreeSet<String>) -> BTreeSet<String> {
    let sections: BTreeSet<&str> = keys.iter().filter_map(|key| key.split('.').next()).collect();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"._/".contains(c));
    words
        .filter_map(|word| {
            if let Some((section, key)) = word
                .strip_prefix("MIXMINUS_")
                .and_then(|name| name.split_once("__"))
            {
                return Some(format!("{}.{}", section.to_lowercase(), key.to_lowercase()));
            }
            let (section, key) = word.trim_end_matches('.').split_once('.')?;
            (sections.contains(section) && !key.is_empty() && !["toml", "yaml"].contains(&key))
                .then(|| format!("{section}.{key}"))
        })
        .collect()
}

/// The lines below the one that ends so, without their indent.
fn block_of(yaml: &str, head: &str) -> String {
    let mut lines = yaml.lines().skip_while(|line| line.trim() != head);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let outer = indent(lines.next().expect("the block is there"));
    let inside = lines.take_while(|line| line.is_empty() || indent(line) > outer);
    inside
        .map(|line| line.get(outer + 2..).unwrap_or_default().to_owned() + "\n")
        .collect()
}

fn number_after(text: &str, head: &str) -> u64 {
    let (_, rest) = text.split_once(head).expect("it is set");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number of seconds")
}
