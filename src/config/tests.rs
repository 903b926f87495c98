use super::*;

fn set(sets: &[&str]) -> Result<Config, ConfigError> {
    Config::load(
        None,
        [],
        &sets.iter().map(|set| set.to_string()).collect::<Vec<_>>(),
    )
}

fn refusal(sets: &[&str]) -> String {
    set(sets).expect_err("refused").to_string()
}

#[test]
fn the_defaults_are_valid_and_documented() {
    let config = Config::defaults();
    assert_eq!(config.http.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.rtp.ports, 10_000..=20_000);
    assert_eq!(config.rtp.advertise, config.rtp.bind);
    assert!(config.engine.threads >= 1);
    let mut documented = false;
    for line in DEFAULT.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(documented, "{line} has no comment above it");
        }
        documented = line.starts_with('#');
    }
}

#[test]
fn the_command_line_beats_the_environment_beats_the_file() {
    let dir = std::env::temp_dir().join(format!("mixminus-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("a.toml");
    std::fs::write(
        &file,
        "[rtp]\ndscp = 1\nports = \"20000-20010\"\n[engine]\nthreads = 3\nlegs = 5\n",
    )
    .unwrap();
    let environment = [
        ("MIXMINUS_RTP__DSCP".into(), "2".into()),
        ("MIXMINUS_ENGINE__LEGS".into(), "6".into()),
    ];
    let config = Config::load(Some(file), environment, &["rtp.dscp=3".into()]).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(
        (config.rtp.dscp, config.engine.legs, config.engine.threads),
        (3, 6, 3)
    );
    assert_eq!(config.rtp.ports, 20_000..=20_010);
    let text = config.describe();
    assert!(text.contains("dscp = 3  # --set"), "{text}");
    assert!(
        text.contains("legs = 6  # environment MIXMINUS_ENGINE__LEGS"),
        "{text}"
    );
    assert!(text.contains("a.toml"), "{text}");
    assert!(text.contains("complexity = 5  # default"), "{text}");
    text.parse::<toml::Table>().expect("the description is TOML");
}

#[test]
fn an_unknown_key_names_itself_and_its_neighbours() {
    assert_eq!(
        refusal(&["rtp.prots=1"]),
        "rtp.prots is not a configuration key; rtp has rtp.advertise, rtp.bind, rtp.dscp, rtp.end_on_media_timeout, rtp.media_timeout_s, rtp.port_rest_s, rtp.ports."
    );
    assert!(refusal(&["x=1"]).contains("the sections are admission, auth, drain"));
    let environment = [("MIXMINUS_RTP__NO".to_owned(), "1".to_owned())];
    assert!(Config::load(None, environment, &[]).is_err());
    let elsewhere = [("MIXMINUS_PORT".to_owned(), "tcp://10.0.0.1:80".to_owned())];
    assert!(Config::load(None, elsewhere, &[]).is_ok());
}

#[test]
fn a_bad_value_names_key_value_and_what_is_allowed() {
    for (set, says) in [
        (
            "rtp.dscp=64",
            "rtp.dscp is 64 (from --set), but must be a whole number from 0 to 63.",
        ),
        (
            "log.level=loud",
            "log.level is loud (from --set), but must be one of error, warn, info, debug, trace.",
        ),
        (
            "http.listen=nowhere",
            "http.listen is nowhere (from --set), but must be an IP address and port",
        ),
        ("rtp.ports=10001-10001", "rtp.ports is 10001-10001"),
        ("rtp.ports=20000-10000", "rtp.ports is 20000-10000"),
        ("rtp.bind=[\"127.0.0.1\",\"127.0.0.2\"]", "rtp.bind is"),
        ("rtp.bind=\"\"", "rtp.bind is"),
        ("rtp.bind=0.0.0.0", "rtp.advertise must name the address"),
        ("rtp.advertise=::1", "rtp.bind has no address of that family"),
        (
            "s3.path_style=1",
            "s3.path_style is 1 (from --set), but must be true or false.",
        ),
        (
            "s3.endpoint=http://store",
            "an https:// URL as long as s3.allow_http is false",
        ),
        (
            "s3.endpoint=store.example",
            "but must be \"aws\", or https://host[:port]",
        ),
        ("s3.endpoint=https://me@store", "without user, path and query"),
        ("s3.endpoint=https://store/path", "without user, path and query"),
        ("s3.endpoint=https://store?x", "without user, path and query"),
        ("s3.region=eu.evil", "at most 32 of a-z, 0-9 and -"),
        ("s3.sse=rot13", "one of \"\", AES256, aws:kms"),
        ("s3.sse_kms_key=k", "empty unless s3.sse is aws:kms"),
        ("s3.buckets=[1]", "a list of strings"),
        ("recording.destination=s3://b/", "as long as s3.endpoint is empty"),
        (
            "recording.destination=here",
            "file://[folder/] or s3://bucket/[folder/]",
        ),
        (
            "webhooks.events_url=https://h/",
            "webhooks.key is \"\" (from default), but must be the application key that signs",
        ),
        (
            "webhooks.platform_fallback_url=https://h/",
            "webhooks.platform_fallback_url is set, but webhooks.platform_url is not.",
        ),
        ("webhooks.timeout_s=0", "a whole number from 1 to 60"),
        ("webhooks.types=[1]", "a list of strings"),
        ("auth.basic=never", "one of safe, always"),
        ("auth.failures_per_s=-1", "a whole number from 0"),
        ("http.streams=0", "a whole number from 1"),
        ("tls.key_file=k", "tls.cert_file is "),
        ("tls.cert_file=c", "a file, because tls.cert_file is one"),
        ("tls.client_ca_file=c", "empty unless tls.cert_file is set"),
        (
            "tls.client_required=true",
            "false unless tls.client_ca_file is set",
        ),
        ("tls.client_roles=switch.example", "a list of \"name=role\""),
        ("tls.client_roles=switch.example=boss", "a list of \"name=role\""),
        (
            "tls.client_roles=[\"a.example=read\", \"A.example=admin\"]",
            "each DNS name or URI once",
        ),
        ("engine.legs=\"many\"", "engine.legs is \"many\""),
        ("engine.legs", "must have the form section.key=value"),
    ] {
        let message = refusal(&[set]);
        assert!(message.contains(says), "{set}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_value_is_toml_else_a_bare_string() {
    let config = set(&[
        "rtp.bind=[\"127.0.0.1\", \"::1\"]",
        "recording.dir=2026-01-02",
        "rtp.dscp=0x2e",
    ])
    .unwrap();
    assert_eq!(config.rtp.bind.len(), 2);
    assert_eq!(config.recording.dir, PathBuf::from("2026-01-02"));
    assert_eq!(config.rtp.dscp, 46);
    let nat = set(&["rtp.bind=0.0.0.0", "rtp.advertise=192.0.2.7"]).unwrap();
    assert_eq!(nat.rtp.advertise, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
}

#[test]
fn a_variable_that_is_no_setting_may_hold_any_bytes() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = OsString::from_vec(vec![0xff]);
    let given = |name: &str| environment([(OsString::from(name), bytes.clone())]);
    assert_eq!(given("PATH"), Ok(vec![]));
    assert_eq!(given("MIXMINUS_PORT"), Ok(vec![]));
    assert!(given("MIXMINUS_RTP__PORTS").is_err());
    assert_eq!(environment([(bytes.clone(), bytes.clone())]), Ok(vec![]));
}

#[test]
fn names_of_certificates_have_roles() {
    let files = ["tls.cert_file=c", "tls.key_file=k", "tls.client_ca_file=a"];
    let none = set(&files).expect_err("nobody would get in").to_string();
    assert!(none.contains("tls.client_roles"), "{none}");
    let roles = "tls.client_roles=[\"Switch.example=control\", \"spiffe://A/b?c=d=read\"]";
    let tls = set(&[&files[..], &[roles]].concat()).unwrap().tls;
    assert_eq!(tls.identity, Some(("c".into(), "k".into())));
    assert_eq!(
        tls.client_roles,
        [("switch.example", "control"), ("spiffe://A/b?c=d", "read")]
            .map(|(name, role)| (name.to_owned(), role.to_owned()))
    );
}

#[test]
fn an_object_store_is_named_by_its_url_or_is_amazons() {
    let of = |sets: &[&str]| set(sets).unwrap().s3;
    assert_eq!(of(&[]).endpoint, None);
    assert_eq!(of(&["s3.endpoint=aws"]).endpoint, Some(Endpoint::Amazon));
    let own = of(&[
        "s3.endpoint=http://127.0.0.1:9000/",
        "s3.allow_http=true",
        "s3.buckets=[\"calls\"]",
        "s3.sse=aws:kms",
        "s3.region=eu-central-1",
        "recording.destination=s3://calls/",
    ]);
    assert_eq!(
        own.endpoint,
        Some(Endpoint::Url("http://127.0.0.1:9000".to_owned()))
    );
    assert_eq!(
        (own.buckets, own.sse),
        (vec!["calls".to_owned()], Encryption::Kms(None))
    );
}
