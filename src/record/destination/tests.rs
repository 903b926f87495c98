use super::*;

fn rules() -> Rules {
    Rules {
        s3: Some(BucketRules::default()),
        ..Rules::default()
    }
}

fn parse(url: &str) -> Result<Destination, DestinationError> {
    Destination::parse(Some(url), None, None, &rules())
}

fn names(destination: &Destination) -> Names {
    let start: Timestamp = "2026-01-02T03:04:05.678Z".parse().expect("a valid time");
    destination.names(start, "app/1", "room/1 ü")
}

fn key(url: &str) -> Result<String, DestinationError> {
    Ok(names(&parse(url)?).sound())
}

#[test]
fn names_that_stay_below_the_directory_or_in_the_bucket_are_honoured() {
    let long = "n".repeat(140);
    let made = "20260102030405_app_1_room_1__.wav";
    let cases: &[(&str, String)] = &[
        ("", made.to_owned()),
        ("calls/", format!("calls/{made}")),
        ("a/b/c/", format!("a/b/c/{made}")),
        ("talk.wav", "talk.wav".to_owned()),
        ("talk.WAV", "talk.WAV".to_owned()),
        ("talk", "talk.wav".to_owned()),
        ("talk.v2", "talk.v2.wav".to_owned()),
        ("talk.ogg", "talk.ogg.wav".to_owned()),
        (".wav", ".wav.wav".to_owned()),
        ("...", "....wav".to_owned()),
        ("calls/..x/talk.wav", "calls/..x/talk.wav".to_owned()),
        ("a%2f..%2fb", "a%2f..%2fb.wav".to_owned()),
        ("a:b@c", "a:b@c.wav".to_owned()),
        ("{room}/Gespräch ☎.wav", "{room}/Gespräch ☎.wav".to_owned()),
        (&long, format!("{long}.wav")),
    ];
    for (given, expected) in cases {
        for root in ["file://", "FILE://", "s3://bucket/", "S3://my.bucket-7/"] {
            assert_eq!(
                key(&format!("{root}{given}")).as_ref(),
                Ok(expected),
                "{root}{given}"
            );
        }
    }
    assert_eq!(key("s3://bucket").as_deref(), Ok(made));
    assert_eq!(
        key("file://what?#.wav").as_deref(),
        Ok("what?#.wav"),
        "a file's name may"
    );
    assert_eq!(
        parse("s3://bucket/x").unwrap().place,
        Place::S3 {
            bucket: "bucket".to_owned()
        }
    );
    assert_eq!(parse("file://bucket/x").unwrap().place, Place::Local);
}

#[test]
fn the_spool_is_no_destination() {
    let parse = |url: &str| Destination::parse(Some(url), None, None, &rules()).map(drop);
    for url in [
        "file://.spool/receipts/x",
        "file://.SPOOL/x",
        "file://.spool",
        "file://.events/life",
        "file://.Webhooks/x",
    ] {
        assert_eq!(parse(url), Err(DestinationError::Spool), "{url}");
    }
    for url in ["s3://bucket/.spool/x", "file://a/.spool/x", "file://.spool2/x"] {
        assert_eq!(parse(url), Ok(()), "{url}");
    }
}

/// Fault row C8.
#[test]
fn names_that_lead_elsewhere_are_refused() {
    use DestinationError::*;
    let (long, deep, longest) = ("n".repeat(141), "d/".repeat(17), "d/".repeat(460));
    let cases: &[(&str, DestinationError)] = &[
        ("/etc/passwd", Absolute),
        ("//x", Absolute),
        ("..", Dots),
        ("../x", Dots),
        ("../../x", Dots),
        ("a/../../x", Dots),
        ("a/..", Dots),
        ("../", Dots),
        ("./x", Dots),
        ("a//x", EmptyPart),
        ("a/b//", EmptyPart),
        ("a\0b", ControlCharacter),
        ("a\nb", ControlCharacter),
        ("a\u{85}b", ControlCharacter),
        ("\u{7f}", ControlCharacter),
        (&long, TooLong),
        (&format!("{longest}x"), TooLong),
    ];
    for (given, expected) in cases {
        for root in ["file://", "s3://bucket/"] {
            let url = format!("{root}{given}");
            assert_eq!(key(&url).as_ref(), Err(expected), "{url:?}");
            assert_eq!(expected.field(), "destinationUrl");
        }
    }
    assert_eq!(key(&format!("file://{deep}x")), Err(TooLong));
    assert_eq!(key(&format!("file://{}/x", "n".repeat(256))), Err(TooLong));
    assert!(
        key(&format!("s3://bucket/{deep}x")).is_ok(),
        "a key has no folders"
    );
    for url in [
        "azure://account/x",
        "talk.wav",
        "/etc/passwd",
        "",
        "://x",
        "s3:/b/x",
    ] {
        assert_eq!(key(url), Err(Scheme), "{url:?}");
    }
}

#[test]
fn an_endpoint_is_never_taken_from_a_request() {
    for url in [
        "s3://bucket:9000/x",
        "s3://user@bucket/x",
        "s3://user:pass@bucket/x",
        "s3://169.254.169.254/latest",
        "s3://127.0.0.1/x",
        "s3://[::1]/x",
        "s3://[::ffff:127.0.0.1]/x",
        "s3://s3.amazonaws.com/x",
        "s3://bucket.s3.eu-west-1.amazonaws.com/x",
        "s3://Store.example/x",
        "s3://store..example/x",
        "s3://bucket/x?endpoint=http://evil",
        "s3://bucket/x#y",
        "s3://bucket?x",
        "s3://bucket\\@evil/x",
        "http://127.0.0.1/x",
        "https://store.example/bucket/x",
        "HTTPS://store.example/bucket/x",
    ] {
        let refusal = key(url).unwrap_err();
        assert_eq!(refusal, DestinationError::Endpoint, "{url}");
        assert!(
            refusal
                .to_string()
                .starts_with("endpoints come from the configuration")
        );
    }
}

#[test]
fn a_bucket_is_named_by_the_rules_of_s3_and_of_the_operator() {
    let long = "b".repeat(64);
    for bucket in [
        "ab",
        "",
        "-ab",
        "ab-",
        "a_b",
        "Bucket",
        "a b",
        "b\u{fc}cket",
        "xn--abc",
        "abc--x-s3",
        "a\0b",
        &long,
    ] {
        let refusal = key(&format!("s3://{bucket}/x")).unwrap_err();
        assert_eq!(refusal, DestinationError::Bucket, "{bucket:?}");
    }
    for bucket in ["abc", "a.b", "1-2", "2130706433", &"b".repeat(63)] {
        assert!(key(&format!("s3://{bucket}/x")).is_ok(), "{bucket:?}");
    }
    let chosen = Rules {
        s3: Some(BucketRules {
            buckets: vec!["calls".to_owned()],
        }),
        ..Rules::default()
    };
    let parsed = |url| Destination::parse(Some(url), None, None, &chosen);
    assert!(parsed("s3://calls/x").is_ok());
    assert_eq!(parsed("s3://calls2/x"), Err(DestinationError::BucketNotAllowed));
}

#[test]
fn without_an_endpoint_s3_is_refused_with_the_key_that_is_missing() {
    let refusal = Destination::parse(Some("s3://bucket/x"), None, None, &Rules::default()).unwrap_err();
    assert_eq!(refusal, DestinationError::S3NotConfigured);
    assert!(refusal.to_string().contains("s3.endpoint is empty"));
}

#[test]
fn the_configured_destination_serves_who_names_none() {
    let rules = Rules {
        default: "s3://calls/all/".to_owned(),
        ..rules()
    };
    let destination = Destination::parse(None, None, Some("flac"), &rules).unwrap();
    assert_eq!(
        names(&destination).sound(),
        "all/20260102030405_app_1_room_1__.flac"
    );
    assert!(matches!(destination.place, Place::S3 { bucket } if bucket == "calls"));
}

#[test]
fn credentials_are_taken_where_they_are_of_use_and_never_told() {
    let with = |url, credentials| Destination::parse(Some(url), Some(credentials), None, &rules());
    let destination = with("s3://bucket/x", "key:hush:eu-west-1").unwrap();
    assert!(!format!("{destination:?}").contains("hush"));
    assert_eq!(destination.credentials.unwrap().region(), "eu-west-1");
    let refusal = with("s3://bucket/x", "key:hush").unwrap_err();
    assert_eq!(refusal.field(), "credentials");
    assert!(!refusal.to_string().contains("hush"));
    assert_eq!(with("file://x", "whatever").unwrap().credentials, None);
}

#[test]
fn the_formats_are_those_that_can_be_made_and_the_refusal_says_so() {
    for (format, ending) in [
        (None, ".wav"),
        (Some("wav"), ".wav"),
        (Some("WAV"), ".wav"),
        (Some("ogg"), ".ogg"),
        (Some("Flac"), ".flac"),
    ] {
        let destination = Destination::parse(Some("file://talk"), None, format, &rules()).unwrap();
        assert_eq!(names(&destination).sound(), format!("talk{ending}"));
    }
    for (format, expected) in [
        ("mp3", DestinationError::Mp3),
        ("MP3", DestinationError::Mp3),
        ("opus", DestinationError::Format),
        ("", DestinationError::Format),
    ] {
        let refusal = Destination::parse(None, None, Some(format), &rules()).unwrap_err();
        assert_eq!(refusal, expected);
        assert_eq!(refusal.field(), "format");
        assert!(
            refusal.to_string().contains("allowed: wav, ogg, flac"),
            "{refusal}"
        );
    }
    assert!(
        DestinationError::Mp3
            .to_string()
            .contains("no freely licensed encoder")
    );
}

#[test]
fn what_lies_beside_a_recording_is_named_after_it() {
    let names = names(&parse("s3://bucket/a.b/talk.WAV").unwrap());
    assert_eq!(names.sound(), "a.b/talk.WAV");
    assert_eq!(names.receipt(), "a.b/talk.json");
    assert_eq!(names.aside("id-7").sound(), "a.b/talk~id-7.WAV");
    assert_eq!(names.aside("id-7").receipt(), "a.b/talk~id-7.json");
    assert_eq!(names.track("leg 7", |_| false), "a.b/talk.leg_7.WAV");
    let taken = ["a.b/talk.leg_7.WAV", "a.b/talk.leg_7-2.WAV"];
    assert_eq!(
        names.track("leg:7", |key| taken.contains(&key)),
        "a.b/talk.leg_7-3.WAV"
    );
    for (key, expected) in [
        ("a.b/talk.WAV", "a.b/talk~id.WAV"),
        ("a.b/talk", "a.b/talk~id"),
        ("a.b/.talk", "a.b/.talk~id"),
        ("talk.x.wav", "talk.x~id.wav"),
    ] {
        assert_eq!(aside(key, "id"), expected);
    }
}

#[test]
fn the_longest_names_fit_into_a_file_system_and_into_s3() {
    let stem = "n".repeat(FILE_BYTES_MAX);
    let folder = format!("{}/", "f".repeat(KEY_BYTES_MAX - FILE_BYTES_MAX - 1));
    let destination = parse(&format!("s3://bucket/{folder}{stem}")).unwrap();
    let id = "0".repeat(36);
    let track = names(&destination).track(&"c".repeat(128), |_| false);
    let longest = aside(&track.replace(".wav", "-999.flac"), &id);
    assert!(longest.len() <= 1_024, "{}", longest.len());
    assert!(
        longest.len() - folder.len() <= 255,
        "{}",
        longest.len() - folder.len()
    );
    let made = names(&parse("file://").unwrap()).sound();
    assert!(made.len() - ".wav".len() <= FILE_BYTES_MAX);
}

/// Fault row C8.
#[test]
fn a_conference_cannot_hide_or_move_a_file_by_its_name() {
    for (id, expected) in [
        ("../../etc", "_._.._etc"),
        (".hidden", "_hidden"),
        ("a.b-c_D9", "a.b-c_D9"),
        ("\u{202e}x\0", "_x_"),
    ] {
        assert_eq!(name_safe(id, ID_CHARACTERS_MAX), expected);
    }
    assert_eq!(name_safe(&"☎".repeat(80), ID_CHARACTERS_MAX).len(), 64);
}
