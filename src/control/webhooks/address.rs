//! Which addresses a callback may go to when nobody has allowed them by name: those of the public internet alone.
//!
//! IPv4 by the IANA special-purpose registry (RFC 6890, RFC 8190); of IPv6 only 2000::/3 is global unicast (RFC 4291
//! section 2.4), less what the registry takes out of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is no public one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 0.0.0.0/8, `::`.
    Unspecified,
    Loopback,
    /// RFC 1918, and the unique local addresses of RFC 4193.
    Private,
    /// Where clouds keep the metadata of their machines (169.254.169.254).
    LinkLocal,
    /// Between a provider and its customers (RFC 6598).
    Shared,
    Multicast,
    /// Written in books only.
    Documentation,
    /// An IPv4 address in an IPv6 one: mapped, compatible, NAT64, 6to4, Teredo. What it reaches is decided elsewhere.
    Embedded,
    /// Kept for protocols, for measurements, or for later.
    Reserved,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::Unspecified,
        Kind::Loopback,
        Kind::Private,
        Kind::LinkLocal,
        Kind::Shared,
        Kind::Multicast,
        Kind::Documentation,
        Kind::Embedded,
        Kind::Reserved,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Unspecified => "unspecified",
            Kind::Loopback => "loopback",
            Kind::Private => "private",
            Kind::LinkLocal => "link_local",
            Kind::Shared => "shared",
            Kind::Multicast => "multicast",
            Kind::Documentation => "documentation",
            Kind::Embedded => "embedded",
            Kind::Reserved => "reserved",
        }
    }

    /// Whether a host that is allowed by its name may have such an address: what a network of one's own has. Others
    /// have to be allowed as a network.
    pub fn is_of_a_named_host(self) -> bool {
        matches!(self, Kind::Loopback | Kind::Private | Kind::Shared)
    }
}

/// `None` of a public address.
pub fn kind(address: IpAddr) -> Option<Kind> {
    match address {
        IpAddr::V4(address) => kind_of_v4(address),
        IpAddr::V6(address) => kind_of_v6(address),
    }
}

fn kind_of_v4(address: Ipv4Addr) -> Option<Kind> {
    Some(match address.octets() {
        [0, ..] => Kind::Unspecified,
        [127, ..] => Kind::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Kind::Private,
        [169, 254, ..] => Kind::LinkLocal,
        [100, 64..=127, ..] => Kind::Shared,
        [224..=239, ..] => Kind::Multicast,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Kind::Documentation,
        // The relays of 6to4 (RFC 7526), and what hands IPv4 through IPv6.
        [192, 88, 99, _] => Kind::Embedded,
        [192, 0, 0, _] | [198, 18..=19, ..] | [240..=255, ..] => Kind::Reserved,
        _ => return None,
    })
}

fn kind_of_v6(address: Ipv6Addr) -> Option<Kind> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Kind::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Loopback,
        // ::/96 compatible, ::ffff:0:0/96 mapped, ::ffff:0:0:0/96 translated, 64:ff9b::/96 and 64:ff9b:1::/48 NAT64.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, ..] => Kind::Embedded,
        [0xfc00..=0xfdff, ..] => Kind::Private,
        // fec0::/10 once was for sites (RFC 3879).
        [0xfe80..=0xfebf, ..] => Kind::LinkLocal,
        [0xfec0..=0xfeff, ..] => Kind::Private,
        [0xff00..=0xffff, ..] => Kind::Multicast,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Kind::Documentation,
        [0x2001, 0, ..] | [0x2002, ..] => Kind::Embedded,
        // 2001::/23, what the IETF keeps for protocols.
        [0x2001, 0..=0x1ff, ..] => Kind::Reserved,
        [0x2000..=0x3fff, ..] => return None,
        _ => Kind::Reserved,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_public_are_known_to_their_edges() {
        for (address, expected) in [
            ("0.0.0.0", "unspecified"),
            ("0.255.255.255", "unspecified"),
            ("1.0.0.0", ""),
            ("9.255.255.255", ""),
            ("10.0.0.0", "private"),
            ("10.255.255.255", "private"),
            ("11.0.0.0", ""),
            ("100.63.255.255", ""),
            ("100.64.0.0", "shared"),
            ("100.127.255.255", "shared"),
            ("100.128.0.0", ""),
            ("126.255.255.255", ""),
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("128.0.0.0", ""),
            ("169.253.255.255", ""),
            ("169.254.169.254", "link_local"),
            ("172.15.255.255", ""),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("172.32.0.0", ""),
            ("192.0.0.8", "reserved"),
            ("192.0.1.0", ""),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "embedded"),
            ("192.168.255.255", "private"),
            ("192.169.0.0", ""),
            ("198.17.255.255", ""),
            ("198.18.0.0", "reserved"),
            ("198.19.255.255", "reserved"),
            ("198.51.100.7", "documentation"),
            ("203.0.113.7", "documentation"),
            ("223.255.255.255", ""),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::2", "embedded"),
            ("::7f00:1", "embedded"),
            ("::ffff:127.0.0.1", "embedded"),
            ("::ffff:8.8.8.8", "embedded"),
            ("::ffff:0:7f00:1", "embedded"),
            ("64:ff9b::a00:1", "embedded"),
            ("64:ff9b:1::a00:1", "embedded"),
            ("100::1", "reserved"),
            ("2001::1", "embedded"),
            ("2001:20::1", "reserved"),
            ("2001:1ff:ffff::", "reserved"),
            ("2001:200::1", ""),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::", "embedded"),
            ("2606:4700::1111", ""),
            ("3fff:fff::1", "documentation"),
            ("3fff:1000::1", ""),
            ("4000::1", "reserved"),
            ("5f00::1", "reserved"),
            ("fbff::1", "reserved"),
            ("fc00::1", "private"),
            ("fd12:3456::1", "private"),
            ("fe80::1", "link_local"),
            ("fec0::1", "private"),
            ("ff02::1", "multicast"),
        ] {
            let found = kind(address.parse().unwrap()).map_or("", Kind::name);
            assert_eq!(found, expected, "{address}");
        }
    }
}
