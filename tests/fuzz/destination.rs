//! What a request says of where its recording goes: URL, credentials and format, a line each.

use mixminus::record::{BucketRules, Credentials, Destination, Place, Rules};

/// Whatever is asked for, the key stays below its folder or in its bucket, and no secret is told.
pub fn destination(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.splitn(3, '\n');
    let (url, credentials, format) = (lines.next(), lines.next(), lines.next());
    let rules = Rules {
        s3: Some(BucketRules::default()),
        ..Rules::default()
    };
    let mut said = String::new();
    match Destination::parse(url, credentials, format, &rules) {
        Ok(destination) => {
            said += &format!("{destination:?}");
            let names = destination.names(Default::default(), "app", "room/../1");
            let aside = names.aside("id");
            let track = names.track("../leg", |_| false);
            for key in [
                names.sound(),
                names.receipt(),
                track,
                aside.sound(),
                aside.receipt(),
            ] {
                check_key(&key);
            }
            if let Place::S3 { bucket } = &destination.place {
                check_bucket(bucket);
            }
        }
        Err(error) => {
            assert!(["destinationUrl", "credentials", "format"].contains(&error.field()));
            said += &format!("{error:?} {error}");
        }
    }
    if let Some(Ok(credentials)) = credentials.map(Credentials::parse) {
        said += &format!("{credentials:?}");
        let (key, secret) = (credentials.key(), credentials.secret());
        let rebuilt = format!("{key}:{secret}:{}", credentials.region());
        assert_eq!(lines_of(text, 1), rebuilt, "nothing of it is lost");
        // A short one can stand in any sentence, and one that is in the URL was told by whoever asked.
        if secret.len() >= 16 && !url.unwrap_or_default().contains(secret) {
            assert!(!said.contains(secret), "the secret is told");
        }
    }
}

fn lines_of(text: &str, at: usize) -> &str {
    text.splitn(3, '\n').nth(at).unwrap_or_default()
}

fn check_key(key: &str) {
    assert!(!key.is_empty() && key.len() <= 1_024, "{} bytes", key.len());
    assert!(!key.starts_with('/') && !key.ends_with('/'), "{key:?}");
    assert!(!key.chars().any(char::is_control), "{key:?}");
    assert!(
        key.split('/').all(|part| !matches!(part, "" | "." | "..")),
        "{key:?}"
    );
}

fn check_bucket(bucket: &str) {
    assert!((3..=63).contains(&bucket.len()), "{bucket:?}");
    let is_safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    assert!(bucket.chars().all(is_safe), "{bucket:?}");
    assert!(bucket.parse::<std::net::IpAddr>().is_err(), "{bucket:?}");
}
