use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

/// A daemon in a folder of its own.
async fn daemon(dir: &std::path::Path) -> Daemon {
    let sets = [
        "http.listen=127.0.0.1:0".to_owned(),
        "grpc.listen=127.0.0.1:0".to_owned(),
        format!("recording.dir={}", dir.display()),
        "engine.threads=1".to_owned(),
        "engine.legs=4".to_owned(),
        "engine.rooms=4".to_owned(),
        "admission.calibrate=assumed".to_owned(),
    ];
    let config = Config::load(None, [], &sets).unwrap();
    Daemon::start(config).await.unwrap()
}

fn liveness(at: SocketAddr) -> String {
    let mut connection = TcpStream::connect(at).unwrap();
    connection
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_whose_pump_is_gone_is_not_alive_and_still_closes() {
    let dir = std::env::temp_dir().join(format!("mixminus-no-pump-{}", std::process::id()));
    let daemon = daemon(&dir).await;
    assert!(liveness(daemon.http).starts_with("HTTP/1.1 200"));
    daemon.pump.abort();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !liveness(daemon.http).starts_with("HTTP/1.1 503") {
        assert!(Instant::now() < deadline, "the daemon is said to be alive");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let fallen = Arc::clone(&daemon.fallen);
    let panicked = tokio::spawn(watched(Part::Pump, fallen, async { panic!("on purpose") }));
    assert!(panicked.await.is_err());
    assert_eq!(daemon.fallen().await, Part::Pump);
    daemon.stop().await;
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn what_recordings_take_at_a_stop_leaves_callbacks_their_time() {
    let left = without_the_rest(PATIENCE);
    assert_eq!(left + PATIENCE_WITH_RECEIVERS + PATIENCE_WITH_EVENTS, PATIENCE);
    assert_eq!(without_the_rest(NO_PATIENCE), NO_PATIENCE);
    assert_eq!(without_the_rest(Duration::ZERO), NO_PATIENCE);
}
