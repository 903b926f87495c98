//! TLS in front of both faces, and certificates of clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::h2;
use crate::support::http::{Served, eventually, place_of_its_own};

/// An authority of its own, and where the files of a daemon that trusts it lie.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// A certificate and its key, in PEM.
struct Party {
    chain: String,
    key: String,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Authority {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, names: &[&str]) -> Party {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.contains("://") {
                true => SanType::URI((*name).try_into().unwrap()),
                false => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        Party {
            chain: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Party {
    fn keep(&self, dir: &Path) {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("cert.pem"), &self.chain).unwrap();
        private(&dir.join("key.pem"), &self.key);
    }
}

fn private(path: &PathBuf, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

type Connection = StreamOwned<ClientConnection, TcpStream>;

/// A connection on which nothing was said yet; the handshake comes with the first word.
fn connect(to: SocketAddr, trusted: &Authority, party: Option<&Party>, alpn: &[&str]) -> Connection {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match party {
        None => builder.with_no_client_auth(),
        Some(party) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(party.chain.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(party.key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    StreamOwned::new(connection, stream)
}

/// The status of one request, on a connection that is kept.
fn status(connection: &mut Connection, request: &str, headers: &str) -> std::io::Result<u16> {
    write!(
        connection,
        "{request} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n{headers}\r\n"
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    connection.read_exact(&mut vec![0; length])?;
    Ok(head[9..12].parse().unwrap())
}

fn basic(credentials: &str) -> String {
    format!("authorization: Basic {}\r\n", STANDARD.encode(credentials))
}

struct Site {
    served: Served,
    ours: Authority,
    dir: PathBuf,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn site(sets: &[&str]) -> Site {
    let (_, dir) = place_of_its_own();
    let ours = Authority::new();
    ours.issue(&["localhost"]).keep(&dir);
    std::fs::write(dir.join("ca.pem"), &ours.pem).unwrap();
    private(&dir.join("keys"), "viewer:c2VjcmV0:read\nswitch:czNjcjN0\n");
    let in_dir = |set: &str| set.replace("$KEPT", dir.to_str().unwrap());
    let sets: Vec<String> = ["tls.cert_file=$KEPT/cert.pem", "tls.key_file=$KEPT/key.pem"]
        .iter()
        .chain(sets)
        .map(|set| in_dir(set))
        .collect();
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    Site {
        served: Served::start(&sets),
        ours,
        dir,
    }
}

const ROLES: &str = r#"tls.client_roles=["look.example=read", "spiffe://example/switch=control"]"#;

#[test]
fn both_faces_speak_tls_with_either_version_of_http() {
    let site = site(&["auth.keys_file=$KEPT/keys"]);
    for to in [site.served.http, site.served.grpc] {
        let mut connection = connect(to, &site.ours, None, &["h2", "http/1.1"]);
        connection.write_all(h2::PREFACE).unwrap();
        connection.write_all(&h2::frame(h2::SETTINGS, 0, 0, b"")).unwrap();
        let (kind, ..) = h2::read(&mut connection).unwrap();
        assert_eq!(kind, h2::SETTINGS);
        assert_eq!(connection.conn.alpn_protocol(), Some(b"h2".as_slice()));
    }
    for alpn in [&["http/1.1"][..], &[]] {
        let mut connection = connect(site.served.http, &site.ours, None, alpn);
        let ask =
            |connection: &mut Connection, headers: &str| status(connection, "GET /v1/legs", headers).unwrap();
        assert_eq!(ask(&mut connection, ""), 401);
        assert_eq!(ask(&mut connection, &basic("viewer:c2VjcmV0")), 200);
        assert_eq!(status(&mut connection, "GET /healthz", "").unwrap(), 200);
    }
}

#[test]
fn what_is_no_tls_or_not_ours_is_ended_and_counted() {
    let site = site(&["auth.keys_file=$KEPT/keys"]);
    let mut plain = TcpStream::connect(site.served.http).unwrap();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let stranger = Authority::new();
    let mut distrusting = connect(site.served.http, &stranger, None, &[]);
    assert!(status(&mut distrusting, "GET /healthz", "").is_err());
    let handshakes = || {
        let mut connection = connect(site.served.http, &site.ours, None, &["http/1.1"]);
        let headers = format!("connection: close\r\n{}", basic("viewer:c2VjcmV0"));
        write!(
            connection,
            "GET /metrics HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"
        )
        .unwrap();
        let mut page = String::new();
        let _ = connection.read_to_string(&mut page);
        page.contains("mixminus_refused_connections_total{reason=\"handshake\"} 2\n")
    };
    eventually("both are counted", handshakes);
}

#[test]
fn a_certificate_of_the_authority_speaks_for_the_names_that_have_a_role() {
    let site = site(&[
        "auth.keys_file=$KEPT/keys",
        "tls.client_ca_file=$KEPT/ca.pem",
        ROLES,
    ]);
    let ask = |party: Option<&Party>, request: &str, headers: &str| {
        let mut connection = connect(site.served.http, &site.ours, party, &[]);
        status(&mut connection, request, headers).ok()
    };
    let viewer = site.ours.issue(&["look.example"]);
    let switch = site.ours.issue(&["other.example", "spiffe://example/switch"]);
    let unlisted = site.ours.issue(&["other.example"]);
    assert_eq!(ask(Some(&viewer), "GET /v1/legs", ""), Some(200));
    assert_eq!(ask(Some(&viewer), "DELETE /v1/legs/a", ""), Some(403));
    assert_eq!(ask(Some(&switch), "DELETE /v1/legs/a", ""), Some(404));
    assert_eq!(ask(Some(&unlisted), "GET /v1/legs", ""), Some(403));
    // A key is heeded before the certificate, and can do without one.
    assert_eq!(
        ask(Some(&viewer), "DELETE /v1/legs/a", &basic("switch:czNjcjN0")),
        Some(404)
    );
    assert_eq!(
        ask(Some(&switch), "GET /v1/legs", &basic("switch:wrong")),
        Some(401)
    );
    assert_eq!(ask(None, "GET /v1/legs", &basic("viewer:c2VjcmV0")), Some(200));
    assert_eq!(ask(None, "GET /v1/legs", ""), Some(401));
    // Whoever is vouched for by somebody else does not get so far.
    let forged = Authority::new().issue(&["look.example"]);
    assert_eq!(ask(Some(&forged), "GET /healthz", ""), None);
}

#[test]
fn a_certificate_has_its_role_over_grpc_too() {
    let site = site(&["tls.client_ca_file=$KEPT/ca.pem", ROLES]);
    // The status of a call that is refused stands in the header; 5 is that there is no such leg, 7 that one may not.
    let call = |party: &Party, name: &str| {
        let mut connection = connect(site.served.grpc, &site.ours, Some(party), &["http/1.1"]);
        let head = format!(
            "POST /mixminus.v1.Control/{name} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/grpc\r\ncontent-length: 8\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).unwrap();
        // The leg `a`.
        connection.write_all(b"\0\0\0\0\x03\x0a\x01a").unwrap();
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        answer
            .lines()
            .find_map(|line| line.strip_prefix("grpc-status: ").map(str::to_owned))
    };
    let viewer = site.ours.issue(&["look.example"]);
    let switch = site.ours.issue(&["spiffe://example/switch"]);
    let unlisted = site.ours.issue(&["other.example"]);
    for (party, name, status) in [
        (&viewer, "GetLeg", "5"),
        (&viewer, "EndLeg", "7"),
        (&switch, "EndLeg", "5"),
        (&unlisted, "GetLeg", "7"),
    ] {
        assert_eq!(call(party, name).as_deref(), Some(status), "{name}");
    }
}

#[test]
fn where_certificates_are_required_nobody_without_one_is_heard() {
    let site = site(&[
        "tls.client_ca_file=$KEPT/ca.pem",
        ROLES,
        "tls.client_required=true",
    ]);
    let viewer = site.ours.issue(&["look.example"]);
    let mut with = connect(site.served.http, &site.ours, Some(&viewer), &[]);
    assert_eq!(status(&mut with, "GET /v1/legs", "").unwrap(), 200);
    let mut without = connect(site.served.http, &site.ours, None, &[]);
    assert!(status(&mut without, "GET /healthz", "").is_err());
}

#[test]
fn a_reload_changes_certificates_and_keeps_connections() {
    let site = site(&["auth.keys_file=$KEPT/keys"]);
    let ask = |connection: &mut Connection| status(connection, "GET /v1/legs", &basic("viewer:c2VjcmV0"));
    let mut before = connect(site.served.http, &site.ours, None, &[]);
    assert_eq!(ask(&mut before).unwrap(), 200);
    let next = Authority::new();
    next.issue(&["localhost"]).keep(&site.dir);
    site.served.reload().unwrap();
    assert_eq!(ask(&mut before).unwrap(), 200, "it goes on");
    assert!(ask(&mut connect(site.served.http, &site.ours, None, &[])).is_err());
    let mut after = connect(site.served.http, &next, None, &[]);
    assert_eq!(ask(&mut after).unwrap(), 200);
    // What cannot be used changes nothing.
    private(&site.dir.join("key.pem"), "no key");
    let refused = site.served.reload().unwrap_err();
    assert!(
        refused.contains("holds no private key") && !refused.contains("no key\n"),
        "{refused}"
    );
    assert_eq!(
        ask(&mut connect(site.served.http, &next, None, &[])).unwrap(),
        200
    );
    std::fs::set_permissions(site.dir.join("key.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(site.served.reload().unwrap_err().contains("mode 0644"));
}

#[test]
fn a_certificate_that_is_not_trusted_any_more_does_not_hold_on_a_connection_that_is_open() {
    let site = site(&[
        "auth.keys_file=$KEPT/keys",
        "tls.client_ca_file=$KEPT/ca.pem",
        ROLES,
    ]);
    let viewer = site.ours.issue(&["look.example"]);
    let mut with = connect(site.served.http, &site.ours, Some(&viewer), &[]);
    let mut without = connect(site.served.http, &site.ours, None, &[]);
    let key = basic("viewer:c2VjcmV0");
    assert_eq!(status(&mut with, "GET /v1/legs", "").unwrap(), 200);
    assert_eq!(status(&mut without, "GET /v1/legs", &key).unwrap(), 200);
    site.served.reload().unwrap();
    assert_eq!(
        status(&mut with, "GET /v1/legs", "").unwrap(),
        200,
        "nothing was changed"
    );
    std::fs::write(site.dir.join("ca.pem"), &Authority::new().pem).unwrap();
    site.served.reload().unwrap();
    let with = std::cell::RefCell::new(with);
    eventually("it is ended", || {
        status(&mut with.borrow_mut(), "GET /v1/legs", "").is_err()
    });
    assert_eq!(status(&mut without, "GET /v1/legs", &key).unwrap(), 200);
}
