//! Connections without a network, so that patience can be short.

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(200);

const PATIENT: Patience = Patience {
    header: LONG,
    idle: LONG,
    farewell: LONG,
};

/// The preface of HTTP/2, and settings as they are.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

struct House {
    server: Arc<Server>,
    // Nothing stops as long as it is there.
    _stop: watch::Sender<bool>,
}

fn house(patience: Patience) -> House {
    let (stop, stopping) = watch::channel(false);
    let http = crate::config::Config::defaults().http;
    House {
        server: Arc::new(Server {
            router: Router::new()
                .route("/", get(async || "here"))
                .route("/on", get(async || endless())),
            connections: Arc::new(Connections::new(&http, Arc::default())),
            stopping,
            patience,
        }),
        _stop: stop,
    }
}

/// A body that begins and goes on.
fn endless() -> Body {
    let beginning = tokio_stream::once(Ok::<_, Infallible>("here"));
    Body::from_stream(tokio_stream::StreamExt::chain(beginning, tokio_stream::pending()))
}

impl House {
    /// The other end of a connection that is served until it ends.
    fn connect(&self, version: Version) -> DuplexStream {
        let (ours, theirs) = duplex(64 * 1024);
        let peer = Peer {
            address: IpAddr::from([192, 0, 2, 1]),
            is_encrypted: false,
            certificate: None,
            standing: None,
        };
        let server = Arc::clone(&self.server);
        tokio::spawn(async move { server.speak(version, ours, peer, None).await });
        theirs
    }

    fn refused(&self, reason: ConnectionRefusal) -> u64 {
        self.server.connections.tally().refused_connections(reason)
    }
}

async fn ask(stream: &mut DuplexStream) {
    ask_for("/", stream).await;
}

async fn ask_for(path: &str, stream: &mut DuplexStream) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // As it is, or as a chunk.
    while !answer.ends_with(b"here") && !answer.ends_with(b"here\r\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "it was closed");
    }
}

#[tokio::test]
async fn a_client_comes_back_to_its_connection_and_a_header_that_has_begun_must_end() {
    let house = house(Patience {
        header: SHORT,
        ..PATIENT
    });
    let mut stream = house.connect(Version::Http1);
    for _ in 0..2 {
        ask(&mut stream).await;
        // Longer than a header may take.
        tokio::time::sleep(3 * SHORT).await;
    }
    assert_eq!(house.refused(ConnectionRefusal::Slow), 0);
    stream.write_all(b"GET / HTTP").await.unwrap();
    assert_eq!(stream.read(&mut [0; 64]).await.unwrap_or(0), 0);
    assert_eq!(house.refused(ConnectionRefusal::Slow), 1);
    // Nothing at all is a header that does not end.
    let mut silent = house.connect(Version::Http1);
    assert_eq!(silent.read(&mut [0; 64]).await.unwrap_or(0), 0);
    assert_eq!(house.refused(ConnectionRefusal::Slow), 2);
}

#[tokio::test]
async fn an_answer_that_goes_on_keeps_its_connection() {
    let house = house(Patience {
        header: SHORT,
        idle: SHORT,
        ..PATIENT
    });
    let mut stream = house.connect(Version::Http1);
    ask_for("/on", &mut stream).await;
    assert!(timeout(5 * SHORT, stream.read(&mut [0; 64])).await.is_err());
}

#[tokio::test]
async fn whoever_asks_no_more_is_closed_and_counted_only_where_it_never_asked() {
    let house = house(Patience {
        idle: SHORT,
        farewell: SHORT,
        ..PATIENT
    });
    let mut stream = house.connect(Version::Http1);
    ask(&mut stream).await;
    assert_eq!(stream.read(&mut [0; 64]).await.unwrap_or(0), 0);
    assert_eq!(house.refused(ConnectionRefusal::Idle), 0);
    let mut greeted = house.connect(Version::Http2);
    greeted.write_all(GREETING).await.unwrap();
    while house.refused(ConnectionRefusal::Idle) == 0 {
        assert_ne!(
            greeted.read(&mut [0; 64]).await.unwrap_or(0),
            0,
            "it is not counted"
        );
    }
    let mut stream = house.connect(Version::Http2);
    stream.write_all(GREETING).await.unwrap();
    // `GET /`, the whole request.
    stream
        .write_all(&[0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84])
        .await
        .unwrap();
    while stream.read(&mut [0; 64]).await.unwrap_or(0) > 0 {}
    assert_eq!(house.refused(ConnectionRefusal::Idle), 1);
    for reason in [ConnectionRefusal::Slow, ConnectionRefusal::Protocol] {
        assert_eq!(house.refused(reason), 0, "{reason:?}");
    }
}

/// A connection that does not end when it is told to.
type Stubborn = std::future::Pending<hyper::Result<()>>;

async fn accompany(house: &House, activity: &Activity) {
    let connection: Stubborn = std::future::pending();
    house
        .server
        .accompany(Version::Http2, connection, |_| (), |_| None, None, activity)
        .await;
}

#[tokio::test]
async fn a_connection_that_was_told_to_end_is_watched_until_it_has() {
    let house = house(Patience {
        idle: Duration::ZERO,
        ..PATIENT
    });
    let activity = Arc::new(Activity::new(Instant::now()));
    let resets = async {
        while house.refused(ConnectionRefusal::Idle) == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..1_000 {
            drop(activity.begin());
        }
        std::future::pending().await
    };
    tokio::select! {
        () = accompany(&house, &activity) => {}
        () = resets => {}
    }
    assert_eq!(house.refused(ConnectionRefusal::Resets), 1);
}

#[tokio::test]
async fn a_connection_that_was_told_to_end_has_a_bounded_time_for_it() {
    let house = house(Patience {
        idle: Duration::ZERO,
        farewell: SHORT,
        ..PATIENT
    });
    accompany(&house, &Activity::new(Instant::now())).await;
}

#[tokio::test]
async fn whoever_has_shown_a_certificate_goes_when_others_are_trusted() {
    let house = house(Patience {
        farewell: SHORT,
        ..PATIENT
    });
    let (ours, mut theirs) = duplex(64 * 1024);
    let peer = Peer {
        address: IpAddr::from([192, 0, 2, 1]),
        is_encrypted: true,
        certificate: None,
        standing: None,
    };
    let trusted = watch::Sender::new(Trusted::default());
    let trust = Some(trusted.subscribe());
    let server = Arc::clone(&house.server);
    tokio::spawn(async move { server.speak(Version::Http1, ours, peer, trust).await });
    ask(&mut theirs).await;
    trusted.send_replace(Trusted::default());
    assert_eq!(theirs.read(&mut [0; 64]).await.unwrap_or(0), 0);
    assert_eq!(house.refused(ConnectionRefusal::Distrusted), 1);
}
