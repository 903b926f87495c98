//! Where a callback may go: what its URL may say, and to which of the addresses found for it one may connect.
//!
//! A host is looked up once for each connection, every address found is checked, and the connection goes to one of
//! those very addresses, so that a name that changes its mind in between changes nothing. One address that is not
//! allowed refuses them all.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv6Addr};

use hyper::Uri;
use ipnet::IpNet;

use super::address::{Kind, kind};

/// What may be reached although it is not public: names, addresses, networks.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    names: Vec<String>,
    networks: Vec<IpNet>,
}

/// A URL that callbacks are sent to. Its path may hold a secret: what is shown of it is host and port.
#[derive(Clone)]
pub struct Target {
    uri: Uri,
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Name(String),
    Address(IpAddr),
}

/// What is wrong with a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    #[error("must be an absolute URL, as https://host/path, without a fragment")]
    NotAUrl,
    #[error("must begin with https:// (http:// for hosts of webhooks.allow, or with webhooks.allow_http)")]
    Scheme,
    #[error("must have neither user nor password before its host")]
    UserInfo,
    #[error("must name a host of letters, digits, dots and hyphens, or an address in its usual form")]
    Host,
    #[error("must have port 443 or 80, but for hosts of webhooks.allow")]
    Port,
    #[error("must not lead to an address that is not public ({0}), unless webhooks.allow has it")]
    Address(&'static str),
}

/// An address found for a host to which one may not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host has an address that is not public ({})", .0.name())]
pub struct Denied(pub Kind);

impl Allowed {
    /// Each entry a host's name, an IP address, or a network as 10.0.0.0/8; an entry that is none of these comes back.
    pub fn parse(entries: &[String]) -> Result<Allowed, &str> {
        let mut allowed = Allowed::default();
        for entry in entries {
            let bare = entry.trim_start_matches('[').trim_end_matches(']');
            if let Ok(network) = entry.parse::<IpNet>() {
                allowed.networks.push(network);
            } else if let Ok(address) = bare.parse::<IpAddr>() {
                allowed.networks.push(IpNet::from(address));
            } else if is_name(entry) {
                allowed.names.push(normal(entry));
            } else {
                return Err(entry);
            }
        }
        Ok(allowed)
    }

    fn has(&self, host: &Host) -> bool {
        match host {
            Host::Name(name) => self.names.iter().any(|allowed| *allowed == normal(name)),
            Host::Address(address) => self.has_address(*address),
        }
    }

    fn has_address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether one may connect to all that was found for the host.
    pub fn permits(&self, host: &Host, found: &[IpAddr]) -> Result<(), Denied> {
        let is_named = self.has(host);
        for &address in found {
            match kind(address) {
                Some(_) if self.has_address(address) => {}
                Some(kind) if is_named && kind.is_of_a_named_host() => {}
                Some(kind) => return Err(Denied(kind)),
                None => {}
            }
        }
        Ok(())
    }
}

impl Target {
    pub fn parse(url: &str, allowed: &Allowed, allow_http: bool) -> Result<Target, BadTarget> {
        if url.contains('#') {
            return Err(BadTarget::NotAUrl);
        }
        let uri: Uri = url.parse().map_err(|_| BadTarget::NotAUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(BadTarget::NotAUrl);
        };
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(BadTarget::Scheme),
        };
        if authority.as_str().contains('@') {
            return Err(BadTarget::UserInfo);
        }
        let host = Host::parse(authority.host()).ok_or(BadTarget::Host)?;
        let port = match authority.port() {
            Some(port) => port.as_str().parse().map_err(|_| BadTarget::Port)?,
            // A colon with nothing after it.
            None if authority.as_str().len() > authority.host().len() => return Err(BadTarget::Port),
            None => default_port,
        };
        let is_allowed = allowed.has(&host);
        if scheme == "http" && !allow_http && !is_allowed {
            return Err(BadTarget::Scheme);
        }
        if !matches!(port, 80 | 443) && !is_allowed {
            return Err(BadTarget::Port);
        }
        if let Host::Address(address) = host
            && let Err(Denied(kind)) = allowed.permits(&host, &[address])
        {
            return Err(BadTarget::Address(kind.name()));
        }
        Ok(Target { uri, host, port })
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    pub fn is_tls(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Path and query as they are sent.
    pub fn path(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }
}

impl Host {
    /// `None` of what is neither a name nor an address as one writes it: the resolver would read `0x7f.1`, `2130706433`
    /// and `0177.0.0.1` as addresses too.
    pub fn parse(text: &str) -> Option<Host> {
        if let Some(v6) = text.strip_prefix('[') {
            let v6: Ipv6Addr = v6.strip_suffix(']')?.parse().ok()?;
            return Some(Host::Address(v6.into()));
        }
        if let Ok(v4) = text.parse() {
            return Some(Host::Address(IpAddr::V4(v4)));
        }
        is_name(text).then(|| Host::Name(text.to_owned()))
    }
}

/// Whether this is the name of a host that no resolver reads as a number (as the URL standard says it: the last label
/// decides).
fn is_name(text: &str) -> bool {
    let bare = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let last = bare.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    bare.len() <= 253 && bare.split('.').all(is_label) && !is_number
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => out.write_str(name),
            Host::Address(IpAddr::V6(address)) => write!(out, "[{address}]"),
            Host::Address(address) => write!(out, "{address}"),
        }
    }
}

impl Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(entries: &[&str]) -> Allowed {
        let entries: Vec<String> = entries.iter().map(|entry| entry.to_string()).collect();
        Allowed::parse(&entries).unwrap()
    }

    /// Fault row C7.
    #[test]
    fn a_url_leads_to_no_host_that_is_not_public_however_it_is_written() {
        let private = |kind| Err(BadTarget::Address(kind));
        for (url, expected) in [
            ("https://hooks.example.com/a?b=c", Ok(())),
            ("https://hooks.example.com", Ok(())),
            ("https://hooks.example.com:443/", Ok(())),
            ("https://93.184.215.14/", Ok(())),
            ("https://[2606:4700::1111]/", Ok(())),
            ("file:///etc/passwd", Err(BadTarget::NotAUrl)),
            ("file://localhost/etc/passwd", Err(BadTarget::Scheme)),
            ("gopher://hooks.example.com/", Err(BadTarget::Scheme)),
            ("ftp://hooks.example.com/", Err(BadTarget::Scheme)),
            ("hooks.example.com/a", Err(BadTarget::NotAUrl)),
            ("/a", Err(BadTarget::NotAUrl)),
            ("", Err(BadTarget::NotAUrl)),
            ("https://", Err(BadTarget::NotAUrl)),
            ("https://hooks.example.com/#x", Err(BadTarget::NotAUrl)),
            ("https://hooks.example.com\\@127.0.0.1/", Err(BadTarget::NotAUrl)),
            ("https://hooks.exa\nmple.com/", Err(BadTarget::NotAUrl)),
            ("http://hooks.example.com/", Err(BadTarget::Scheme)),
            ("http://127.0.0.1/", Err(BadTarget::Scheme)),
            ("https://127.0.0.1/", private("loopback")),
            ("https://127.255.0.9/", private("loopback")),
            ("https://0.0.0.0/", private("unspecified")),
            ("https://10.1.2.3/", private("private")),
            ("https://169.254.169.254/latest/meta-data", private("link_local")),
            ("https://100.100.100.200/", private("shared")),
            ("https://[::1]/", private("loopback")),
            ("https://[::]/", private("unspecified")),
            ("https://[::ffff:127.0.0.1]/", private("embedded")),
            ("https://[::ffff:7f00:1]/", private("embedded")),
            ("https://[::127.0.0.1]/", private("embedded")),
            ("https://[64:ff9b::7f00:1]/", private("embedded")),
            ("https://[fd00::1]/", private("private")),
            ("https://[fe80::1]/", private("link_local")),
            ("https://[fe80::1%25lo]/", Err(BadTarget::Host)),
            ("https://2130706433/", Err(BadTarget::Host)),
            ("https://017700000001/", Err(BadTarget::Host)),
            ("https://0x7f000001/", Err(BadTarget::Host)),
            ("https://0x7f.0.0.1/", Err(BadTarget::Host)),
            ("https://127.0.0.0x1/", Err(BadTarget::Host)),
            ("https://127.0.0.1./", Err(BadTarget::Host)),
            ("https://0177.0.0.1/", Err(BadTarget::Host)),
            ("https://127.1/", Err(BadTarget::Host)),
            ("https://127.0.0.1.5/", Err(BadTarget::Host)),
            ("https://a..b/", Err(BadTarget::Host)),
            ("https://user@hooks.example.com/", Err(BadTarget::UserInfo)),
            ("https://user:secret@127.0.0.1/", Err(BadTarget::UserInfo)),
            ("https://hooks.example.com@127.0.0.1/", Err(BadTarget::UserInfo)),
            ("https://hooks.example.com:22/", Err(BadTarget::Port)),
            ("https://hooks.example.com:8443/", Err(BadTarget::Port)),
            ("https://hooks.example.com:65536/", Err(BadTarget::Port)),
            ("https://hooks.example.com:/", Err(BadTarget::Port)),
        ] {
            let parsed = Target::parse(url, &Allowed::default(), false).map(drop);
            // The library that parses URLs refuses some of them first, which is as good.
            match (&parsed, &expected) {
                (Err(BadTarget::NotAUrl), Err(_)) => {}
                _ => assert_eq!(parsed, expected, "{url}"),
            }
        }
    }

    #[test]
    fn what_is_allowed_by_name_or_network_may_be_reached_and_nothing_beside_it() {
        let parse = |url: &str, entries: &[&str]| Target::parse(url, &allowed(entries), false).map(drop);
        for (url, entry) in [
            ("http://127.0.0.1:9000/a", "127.0.0.1"),
            ("http://127.0.0.1:9000/a", "127.0.0.0/8"),
            ("https://[::1]:9000/a", "[::1]"),
            ("https://[fd00::7]/a", "fd00::/8"),
            ("http://switch:8080/a", "switch"),
            ("http://Switch.Internal.:8080/a", "switch.internal"),
        ] {
            assert_eq!(parse(url, &[entry]), Ok(()), "{url}");
            assert!(parse(url, &[]).is_err(), "{url}");
        }
        assert_eq!(
            parse("https://127.0.0.2/", &["127.0.0.1"]),
            Err(BadTarget::Address("loopback"))
        );
        assert_eq!(parse("http://other.switch/", &["switch"]), Err(BadTarget::Scheme));
        for wrong in [
            "",
            "10.0.0.0/33",
            "a b",
            "https://switch",
            "switch:80",
            "*.internal",
            "0x7f.1",
        ] {
            assert_eq!(Allowed::parse(&[wrong.to_owned()]).err(), Some(wrong));
        }
        let http = |url: &str| Target::parse(url, &Allowed::default(), true).map(drop);
        assert_eq!(http("http://hooks.example.com/"), Ok(()));
        assert_eq!(http("http://127.0.0.1/"), Err(BadTarget::Address("loopback")));
    }

    /// Fault row C7.
    #[test]
    fn one_address_that_is_not_public_refuses_all_that_were_found() {
        let name = Host::parse("hooks.example.com").unwrap();
        let found = |addresses: &[&str]| -> Vec<IpAddr> {
            addresses.iter().map(|address| address.parse().unwrap()).collect()
        };
        let nothing = Allowed::default();
        assert_eq!(
            nothing.permits(&name, &found(&["93.184.215.14", "2606:4700::1111"])),
            Ok(())
        );
        for (address, kind) in [
            ("127.0.0.1", Kind::Loopback),
            ("::1", Kind::Loopback),
            ("10.0.0.1", Kind::Private),
            ("169.254.169.254", Kind::LinkLocal),
            ("::ffff:93.184.215.14", Kind::Embedded),
        ] {
            for mixed in [
                vec![address],
                vec!["93.184.215.14", address],
                vec![address, "93.184.215.14"],
            ] {
                assert_eq!(
                    nothing.permits(&name, &found(&mixed)),
                    Err(Denied(kind)),
                    "{mixed:?}"
                );
            }
        }
        let by_name = allowed(&["hooks.example.com"]);
        assert_eq!(by_name.permits(&name, &found(&["127.0.0.1", "10.0.0.1"])), Ok(()));
        let metadata = found(&["169.254.169.254"]);
        assert_eq!(by_name.permits(&name, &metadata), Err(Denied(Kind::LinkLocal)));
        assert_eq!(allowed(&["169.254.0.0/16"]).permits(&name, &metadata), Ok(()));
        assert_eq!(
            allowed(&["10.0.0.0/8"]).permits(&name, &found(&["10.9.9.9"])),
            Ok(())
        );
        assert_eq!(
            allowed(&["10.0.0.0/8"]).permits(&name, &found(&["10.9.9.9", "172.16.0.1"])),
            Err(Denied(Kind::Private))
        );
    }

    #[test]
    fn a_target_shows_its_host_and_none_of_its_path() {
        let target = Target::parse(
            "https://hooks.example.com/secret?token=x",
            &Allowed::default(),
            false,
        );
        let target = target.unwrap();
        assert_eq!(
            format!("{target} {target:?}"),
            "hooks.example.com:443 Target(hooks.example.com:443)"
        );
        assert_eq!(target.path(), "/secret?token=x");
        let bare = Target::parse("https://hooks.example.com", &Allowed::default(), false).unwrap();
        assert_eq!(bare.path(), "/");
    }
}
