use super::*;
use std::os::unix::fs::PermissionsExt;

fn settings(sets: &[&str]) -> Result<Option<Settings>, WebhookError> {
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    Settings::read(&Config::load(None, [], &sets).expect("what the configuration itself can say is well"))
}

/// A file with this text that its owner alone can read.
fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("mixminus-webhooks-{name}-{}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn without_a_url_there_is_nothing_to_do() {
    assert!(settings(&[]).unwrap().is_none());
    assert!(settings(&["webhooks.key=app", "auth.keys_file=/nonexistent"]).is_err());
}

#[test]
fn what_is_configured_wrongly_is_one_sentence_without_the_url() {
    let keys = file("wrong", "app:c2VjcmV0\n");
    let secret = format!("webhooks.secret_file={}", keys.display());
    for (set, says) in [
        (
            "webhooks.events_url=http://token.example/",
            "webhooks.events_url must begin with https://",
        ),
        (
            "webhooks.events_url=https://me:token@a.example/",
            "must have neither user nor password",
        ),
        (
            "webhooks.events_url=https://127.0.0.1/token",
            "not public (loopback)",
        ),
        (
            "webhooks.events_url=https://2130706433/token",
            "must name a host of letters",
        ),
        (
            "webhooks.events_url=https://a.example:22/token",
            "must have port 443 or 80",
        ),
        (
            "webhooks.platform_url=file:///token",
            "webhooks.platform_url must be an absolute URL",
        ),
        (
            "webhooks.allow=[\"*.token\"]",
            "webhooks.allow has \"*.token\", but each entry must be",
        ),
        (
            "webhooks.types=[\"leg.token\"]",
            "webhooks.types has \"leg.token\", but the types are room.started, ",
        ),
        ("webhooks.types=[\"snapshot\"]", "recording.failed, lost."),
    ] {
        let error = settings(&["webhooks.key=app", &secret, set])
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains(says) && !error.contains('\n') && error.ends_with('.'),
            "{error}"
        );
        assert!(!set.contains("_url") || !error.contains("token"), "{error}");
    }
    let authorities = file("authorities", "nothing");
    let authorities = format!("webhooks.ca_file={}", authorities.display());
    let with_url = [
        "webhooks.key=app",
        &secret,
        "webhooks.events_url=https://a.example/",
    ];
    let error = settings(&[&with_url[..], &[&authorities]].concat())
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("cannot be used: there is no certificate in it."),
        "{error}"
    );
    std::fs::remove_file(keys).unwrap();
}

#[test]
fn the_first_secret_of_the_key_signs() {
    let path = file(
        "keys",
        "# comment\nother:b3RoZXI=:read\napp:Zmlyc3Q=:control\napp:c2Vjb25k\n",
    );
    assert_eq!(&**secret(&path, "app").unwrap(), b"first");
    assert_eq!(&**secret(&path, "other").unwrap(), b"other");
    assert!(secret(&path, "nobody").unwrap_err().contains("no secret"));
    for wrong in ["app:", "app:!", "app"] {
        std::fs::write(&path, wrong).unwrap();
        let error = secret(&path, "app").unwrap_err();
        assert!(error.starts_with("has "), "{error}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(secret(&path, "app").unwrap_err().contains("mode 0644"));
    std::fs::remove_file(path).unwrap();
}
