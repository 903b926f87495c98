//! Connections to receivers: one look-up, every address checked, then to one of those very addresses. No proxy of the
//! environment is heard.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower::Service;

use super::target::{Allowed, Denied, Host};

/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 4;

/// Names that are looked up at once: each takes a thread, for as long as the resolver of the machine has patience.
const LOOK_UPS_MAX: usize = 4;

/// For each but the last of them.
const PATIENCE: Duration = Duration::from_millis(1_500);

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the host cannot be looked up: {0}")]
    Unresolved(io::Error),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
}

/// Gives the addresses of a name.
pub type LookUp = Arc<dyn Fn(String) -> Answer + Send + Sync>;
pub type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

#[derive(Clone)]
pub struct Connector {
    allowed: Arc<Allowed>,
    look_up: LookUp,
}

impl Connector {
    pub fn new(allowed: Arc<Allowed>, look_up: LookUp) -> Connector {
        Connector { allowed, look_up }
    }

    async fn connect(self, uri: Uri) -> Result<TcpStream, ConnectError> {
        let unreadable = || ConnectError::Unresolved(io::ErrorKind::InvalidInput.into());
        let host = uri.host().and_then(Host::parse).ok_or_else(unreadable)?;
        let found = match &host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => (self.look_up)(name.clone())
                .await
                .map_err(ConnectError::Unresolved)?,
        };
        self.allowed.permits(&host, &found)?;
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("https") => 443,
            _ => 80,
        });
        let mut error = ConnectError::Unresolved(io::ErrorKind::NotFound.into());
        let last = found.len().min(ADDRESSES_MAX).saturating_sub(1);
        for (index, address) in found.into_iter().take(ADDRESSES_MAX).enumerate() {
            let connecting = TcpStream::connect(SocketAddr::new(address, port));
            let connected = match index == last {
                true => connecting.await,
                false => match tokio::time::timeout(PATIENCE, connecting).await {
                    Ok(connected) => connected,
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                },
            };
            match connected {
                Ok(stream) => {
                    // A callback is one small write.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(failed) => error = ConnectError::Unreachable(failed),
            }
        }
        Err(error)
    }
}

/// By the resolver of the machine.
pub fn of_the_machine() -> LookUp {
    bounded(Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }))
}

/// A bounded number at once. Each runs to its end, for the thread it takes is not free before, whoever has lost patience.
fn bounded(look_up: LookUp) -> LookUp {
    let places = Arc::new(Semaphore::new(LOOK_UPS_MAX));
    Arc::new(move |name| {
        let (look_up, places) = (Arc::clone(&look_up), Arc::clone(&places));
        Box::pin(async move {
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            let looking_up = tokio::spawn(async move {
                let found = look_up(name).await;
                drop(place);
                found
            });
            looking_up.await.map_err(io::Error::other)?
        })
    })
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(uri).await.map(TokioIo::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::net::TcpListener;

    fn allowed(entries: &[&str]) -> Arc<Allowed> {
        let entries: Vec<String> = entries.iter().map(|entry| entry.to_string()).collect();
        Arc::new(Allowed::parse(&entries).unwrap())
    }

    /// A resolver that gives these answers, one after another, and counts how often it was asked.
    fn resolver(answers: &[&[&str]]) -> (LookUp, Arc<Mutex<usize>>) {
        let answers: Vec<Vec<IpAddr>> = answers
            .iter()
            .map(|answer| answer.iter().map(|address| address.parse().unwrap()).collect())
            .collect();
        let asked = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&asked);
        let look_up: LookUp = Arc::new(move |_| {
            let mut asked = counter.lock().unwrap();
            let answer = answers.get(*asked).cloned().ok_or(io::ErrorKind::NotFound.into());
            *asked += 1;
            Box::pin(async move { answer })
        });
        (look_up, asked)
    }

    /// Fault row C7.
    #[tokio::test]
    async fn a_name_is_looked_up_once_and_the_address_that_was_checked_is_connected_to() {
        let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = receiver.local_addr().unwrap().port();
        let uri: Uri = format!("http://hooks.example.com:{port}/").parse().unwrap();

        // A second look-up, for connecting, would be led elsewhere.
        let (look_up, asked) = resolver(&[&["127.0.0.1"], &["127.0.0.99"]]);
        let connector = Connector::new(allowed(&["127.0.0.1"]), look_up);
        let stream = connector.clone().connect(uri.clone()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap().ip().to_string(), "127.0.0.1");
        assert_eq!(*asked.lock().unwrap(), 1);
        let rebound = connector.connect(uri.clone()).await.err().unwrap();
        assert!(matches!(rebound, ConnectError::Denied(_)), "{rebound}");
        assert_eq!(*asked.lock().unwrap(), 2);
    }

    #[tokio::test]
    async fn no_more_than_a_few_names_are_looked_up_at_once_however_little_patience_who_asks_has() {
        let (begun, answers) = (Arc::new(Mutex::new(0)), Arc::new(Semaphore::new(0)));
        let (counter, waits) = (Arc::clone(&begun), Arc::clone(&answers));
        let look_up = bounded(Arc::new(move |_| {
            *counter.lock().unwrap() += 1;
            let waits = Arc::clone(&waits);
            Box::pin(async move {
                waits.acquire().await.unwrap().forget();
                Ok(Vec::new())
            })
        }));
        let patience = Duration::from_millis(10);
        for _ in 0..3 * LOOK_UPS_MAX {
            let answer = look_up("hooks.example.com".to_owned());
            assert!(tokio::time::timeout(patience, answer).await.is_err());
        }
        assert_eq!(*begun.lock().unwrap(), LOOK_UPS_MAX);
        answers.add_permits(LOOK_UPS_MAX + 1);
        assert!(look_up("hooks.example.com".to_owned()).await.unwrap().is_empty());
    }

    /// Fault row C7.
    #[tokio::test]
    async fn nobody_is_connected_to_who_has_an_address_that_is_not_public() {
        let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = receiver.local_addr().unwrap().port();
        for answer in [
            &["127.0.0.1"][..],
            &["169.254.169.254"],
            &["::1"],
            &["::ffff:127.0.0.1"],
            &["10.0.0.1"],
            &["0.0.0.0"],
            &["127.0.0.1", "93.184.215.14"],
            &["93.184.215.14", "127.0.0.1"],
        ] {
            let (look_up, _) = resolver(&[answer]);
            let uri: Uri = format!("http://hooks.example.com:{port}/").parse().unwrap();
            let refused = Connector::new(allowed(&[]), look_up)
                .connect(uri)
                .await
                .err()
                .unwrap();
            assert!(
                matches!(refused, ConnectError::Denied(_)),
                "{answer:?}: {refused}"
            );
        }
        // Nor to one that stands in the URL itself, in whatever form a resolver would read.
        for host in [
            "127.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "2130706433",
            "0x7f.1",
            "127.1",
        ] {
            let (look_up, asked) = resolver(&[&["127.0.0.1"]]);
            let uri: Uri = format!("http://{host}:{port}/").parse().unwrap();
            assert!(Connector::new(allowed(&[]), look_up).connect(uri).await.is_err());
            assert_eq!(*asked.lock().unwrap(), 0, "{host}");
        }
        let unheard = tokio::time::timeout(Duration::from_millis(50), receiver.accept()).await;
        assert!(unheard.is_err(), "nobody was connected to");
    }

    #[tokio::test]
    async fn the_next_address_is_tried_where_one_does_not_answer() {
        let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = receiver.local_addr().unwrap().port();
        let uri: Uri = format!("http://hooks.example.com:{port}/").parse().unwrap();
        let (look_up, _) = resolver(&[&["127.0.0.2", "127.0.0.1"], &["127.0.0.2"], &[]]);
        let connector = Connector::new(allowed(&["127.0.0.0/8"]), look_up);
        let stream = connector.clone().connect(uri.clone()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap().ip().to_string(), "127.0.0.1");
        let nobody = connector.clone().connect(uri.clone()).await.err().unwrap();
        assert!(matches!(nobody, ConnectError::Unreachable(_)), "{nobody}");
        for _ in 0..2 {
            let unknown = connector.clone().connect(uri.clone()).await.err().unwrap();
            assert!(matches!(unknown, ConnectError::Unresolved(_)), "{unknown}");
        }
    }
}
