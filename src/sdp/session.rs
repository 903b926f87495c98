//! Reads the text of a session description (RFC 8866) into a [`Session`].
//!
//! Read is what a call needs; unknown lines and attributes are skipped, and so is everything below an m-line that
//! is not audio, because that m-line will be refused. Lines may end in CRLF or LF. Every size has a cap.

use std::net::IpAddr;

use super::SdpError;
use super::crypto::{CryptoLine, Selection};

/// The longest SDP read, in bytes.
pub(super) const BYTES_MAX: usize = 64 * 1024;
/// The longest line read, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 4_096;
/// The most m-lines in one SDP.
pub(super) const MEDIA_MAX: usize = 16;
/// The most formats on one m-line.
pub(super) const FORMATS_PER_MEDIA_MAX: usize = 64;
/// The transports an audio m-line may ask for.
pub(super) const PROTOCOLS: [&str; 4] = ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"];

/// The longest name, transport or format a refusal has to repeat, in bytes.
const TOKEN_BYTES_MAX: usize = 64;
const PAYLOAD_TYPE_MAX: u8 = 127;
/// No packet holds more sound; larger values are read as this.
const PTIME_MS_MAX: u32 = 10_000;

/// What one side describes. Addresses and directions of the session level have been handed down to the m-lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session<'a> {
    /// Start and stop of the `t=` line; the answer repeats them (RFC 3264 §6).
    pub timing: (u64, u64),
    /// In the order of the text.
    pub media: Vec<Media<'a>>,
}

/// One m-line and the lines below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media<'a> {
    /// `audio`, `video`, `application`, …
    pub kind: &'a str,
    /// 0 means refused or switched off (RFC 3264 §6, §8.2).
    pub port: u16,
    /// The transport, as written.
    pub protocol: &'a str,
    /// The formats, as written.
    pub formats: Vec<&'a str>,
    /// The formats of RTP audio, without repetitions; empty for all else.
    pub payloads: Vec<Payload<'a>>,
    /// Where this side receives; unspecified (`0.0.0.0`, `::`) means "do not send" (RFC 3264 §8.4).
    pub address: Option<IpAddr>,
    /// What this side wants to do.
    pub direction: Direction,
    /// Milliseconds of sound this side wants in each packet, rounded up to whole ones; at least 1.
    pub ptime_ms: Option<u32>,
    /// The most milliseconds of sound this side takes in one packet; at least 1.
    pub maxptime_ms: Option<u32>,
    /// RFC 3605: the RTCP port where it is not the next one, and its address where it is another.
    pub rtcp: Option<(u16, Option<IpAddr>)>,
    /// RFC 5761: RTCP may share the RTP port.
    pub rtcp_mux: bool,
    /// The `a=crypto` lines (RFC 4568), in their order.
    pub crypto: Vec<CryptoLine<'a>>,
}

/// One RTP payload type of an audio m-line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// 0 to 127.
    pub number: u8,
    pub encoding: Option<EncodingName<'a>>,
    /// The value of its `fmtp`, without the number; empty when there is none.
    pub parameters: &'a str,
}

/// The value of an `rtpmap`: `opus/48000/2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodingName<'a> {
    pub name: &'a str,
    pub clock_hz: u32,
    /// 1 when not written.
    pub channels: u8,
}

/// Who sends, seen from the side that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    #[default]
    SendReceive,
    SendOnly,
    ReceiveOnly,
    Inactive,
}

/// The address family of a media address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl<'a> Session<'a> {
    /// Reads `text`. The first thing wrong with it is the error.
    pub fn parse(text: &'a str) -> Result<Session<'a>, SdpError> {
        if text.len() > BYTES_MAX {
            return Err(SdpError::TooLong { bytes: text.len() });
        }
        let numbered = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim_ascii_end()));
        let mut lines = numbered.filter(|(_, line)| !line.is_empty());
        if lines.next().is_none_or(|(_, first)| first != "v=0") {
            return Err(SdpError::NoVersion);
        }

        let mut session = Session {
            timing: (0, 0),
            media: Vec::new(),
        };
        let mut level = Level::default();
        for (number, line) in lines {
            let (letter, value) = split_line(number, line)?;
            match (letter, session.media.last_mut()) {
                (b'm', _) => {
                    if session.media.len() == MEDIA_MAX {
                        return Err(SdpError::TooManyMedia);
                    }
                    session.media.push(Media::parse(number, value, level)?);
                }
                (b't', None) => session.timing = parse_timing(number, value)?,
                (b'c', None) => level.address = Some(parse_connection(number, value)?),
                (b'a', None) => level.direction = Direction::named(value).unwrap_or(level.direction),
                (b'c' | b'a', Some(media)) if media.kind == "audio" => media.read(number, letter, value)?,
                _ => {}
            }
        }
        Ok(session)
    }

    /// Which m-line the call can use: the first audio one that is not refused and whose transport we speak, with a key
    /// where it needs one.
    pub fn usable_audio(&self) -> Result<usize, SdpError> {
        let mut problem = SdpError::NoAudio;
        for (index, media) in self
            .media
            .iter()
            .enumerate()
            .filter(|(_, media)| media.kind == "audio")
        {
            if media.port == 0 {
                if problem == SdpError::NoAudio {
                    problem = SdpError::AudioRefused;
                }
                continue;
            }
            match media.check_transport() {
                Ok(()) => return Ok(index),
                Err(unusable) if matches!(problem, SdpError::NoAudio | SdpError::AudioRefused) => {
                    problem = unusable;
                }
                Err(_) => {}
            }
        }
        Err(problem)
    }
}

/// What the session level says for all m-lines below it.
#[derive(Clone, Copy, Default)]
struct Level {
    address: Option<IpAddr>,
    direction: Direction,
}

impl<'a> Media<'a> {
    /// Reads the value of an m-line: `audio 49170/1 RTP/AVP 0 8 96`.
    fn parse(line: usize, value: &'a str, level: Level) -> Result<Media<'a>, SdpError> {
        let bad = || SdpError::BadField {
            line,
            field: "m-line",
            allowed: "a kind, a port, a transport and at least one format, as in \"audio 49170 RTP/AVP 0 8\"",
        };
        let mut fields = value.split_ascii_whitespace();
        let kind = fields.next().filter(|kind| is_token(kind)).ok_or_else(bad)?;
        let port = fields
            .next()
            .and_then(|port| port.split('/').next()?.parse().ok())
            .ok_or_else(bad)?;
        let protocol = fields
            .next()
            .filter(|protocol| protocol.split('/').all(is_token))
            .ok_or_else(bad)?;
        let formats: Vec<&str> = fields.take(FORMATS_PER_MEDIA_MAX + 1).collect();
        if formats.len() > FORMATS_PER_MEDIA_MAX {
            return Err(SdpError::TooManyFormats { line });
        }
        // A refused m-line is repeated, not used: there are senders that leave its formats out.
        if protocol.len() > TOKEN_BYTES_MAX
            || !formats.iter().copied().all(is_token)
            || (formats.is_empty() && port != 0)
        {
            return Err(bad());
        }
        let payloads = if kind == "audio" && protocol.contains("RTP/") {
            parse_payload_types(line, &formats)?
        } else {
            Vec::new()
        };
        Ok(Media {
            kind,
            port,
            protocol,
            formats,
            payloads,
            address: level.address,
            direction: level.direction,
            ptime_ms: None,
            maxptime_ms: None,
            rtcp: None,
            rtcp_mux: false,
            crypto: Vec::new(),
        })
    }

    /// Takes in a `c=` or `a=` line that stands below this m-line.
    fn read(&mut self, line: usize, letter: u8, value: &'a str) -> Result<(), SdpError> {
        if letter == b'c' {
            self.address = Some(parse_connection(line, value)?);
            return Ok(());
        }
        if let Some(direction) = Direction::named(value) {
            self.direction = direction;
            return Ok(());
        }
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        match name {
            "rtpmap" => {
                let (number, encoding) = parse_rtpmap(line, value)?;
                if let Some(payload) = self.payload_mut(number) {
                    payload.encoding = Some(encoding);
                }
            }
            "fmtp" => {
                let (number, parameters) = split_payload_type(value).ok_or(SdpError::BadField {
                    line,
                    field: "fmtp",
                    allowed: "a payload type from 0 to 127 and its parameters",
                })?;
                if let Some(payload) = self.payload_mut(number) {
                    payload.parameters = parameters;
                }
            }
            "ptime" => self.ptime_ms = parse_milliseconds(line, "ptime", value)?,
            "maxptime" => self.maxptime_ms = parse_milliseconds(line, "maxptime", value)?,
            "rtcp" => self.rtcp = Some(parse_rtcp(line, value)?),
            "rtcp-mux" => self.rtcp_mux = true,
            "crypto" => self.crypto.push(CryptoLine(value)),
            _ => {}
        }
        Ok(())
    }

    /// Whether packets must be SRTP. Otherwise they are where both sides have a key.
    pub(super) fn needs_srtp(&self) -> bool {
        self.protocol.contains("/SAVP")
    }

    fn check_transport(&self) -> Result<(), SdpError> {
        if !PROTOCOLS.contains(&self.protocol) {
            return Err(SdpError::UnsupportedProtocol {
                offered: self.protocol.to_owned(),
            });
        }
        let selection = match self.needs_srtp() {
            true => Selection::of_all(&self.crypto),
            false => return Ok(()),
        };
        match selection.line {
            Some(_) => Ok(()),
            None => Err(SdpError::NoUsableCrypto {
                reasons: selection.reasons(),
            }),
        }
    }

    fn payload_mut(&mut self, number: u8) -> Option<&mut Payload<'a>> {
        self.payloads.iter_mut().find(|payload| payload.number == number)
    }
}

impl Direction {
    /// The direction an attribute's text names.
    fn named(attribute: &str) -> Option<Direction> {
        match attribute {
            "sendrecv" => Some(Direction::SendReceive),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::ReceiveOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        }
    }

    /// The attribute's text.
    pub const fn name(self) -> &'static str {
        match self {
            Direction::SendReceive => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::ReceiveOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    pub const fn new(sends: bool, receives: bool) -> Direction {
        match (sends, receives) {
            (true, true) => Direction::SendReceive,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::ReceiveOnly,
            (false, false) => Direction::Inactive,
        }
    }

    pub const fn sends(self) -> bool {
        matches!(self, Direction::SendReceive | Direction::SendOnly)
    }

    pub const fn receives(self) -> bool {
        matches!(self, Direction::SendReceive | Direction::ReceiveOnly)
    }
}

impl Family {
    pub const fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }

    /// As in `c=IN IP4`.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Ipv4 => "IP4",
            Family::Ipv6 => "IP6",
        }
    }
}

/// Splits `x=value` into its letter and its value.
fn split_line(number: usize, line: &str) -> Result<(u8, &str), SdpError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(SdpError::LineTooLong {
            line: number,
            bytes: line.len(),
        });
    }
    let control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    match line.as_bytes() {
        [letter @ b'a'..=b'z', b'=', value @ ..] if !value.iter().copied().any(control) => {
            Ok((*letter, &line[2..]))
        }
        _ => Err(SdpError::BadLine { line: number }),
    }
}

/// RFC 8866 §9 `token`: what may be repeated in an answer without a second look.
fn is_token(text: &str) -> bool {
    let token_character = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&byte);
    !text.is_empty() && text.len() <= TOKEN_BYTES_MAX && text.bytes().all(token_character)
}

fn parse_payload_types<'a>(line: usize, formats: &[&str]) -> Result<Vec<Payload<'a>>, SdpError> {
    let mut payloads: Vec<Payload> = Vec::with_capacity(formats.len());
    for format in formats {
        let number = parse_payload_type(format).ok_or(SdpError::BadField {
            line,
            field: "payload type",
            allowed: "a number from 0 to 127",
        })?;
        if payloads.iter().all(|payload| payload.number != number) {
            payloads.push(Payload {
                number,
                encoding: None,
                parameters: "",
            });
        }
    }
    Ok(payloads)
}

fn parse_payload_type(text: &str) -> Option<u8> {
    text.parse().ok().filter(|number| *number <= PAYLOAD_TYPE_MAX)
}

/// Splits `96 rest` into the payload type and the rest.
fn split_payload_type(value: &str) -> Option<(u8, &str)> {
    let value = value.trim_ascii_start();
    let (number, rest) = value
        .split_once(|c: char| c.is_ascii_whitespace())
        .unwrap_or((value, ""));
    Some((parse_payload_type(number)?, rest.trim_ascii()))
}

fn parse_rtpmap(line: usize, value: &str) -> Result<(u8, EncodingName<'_>), SdpError> {
    let parts = || {
        let (number, encoding) = split_payload_type(value)?;
        let mut fields = encoding.split('/');
        let name = fields.next().filter(|name| is_token(name))?;
        let clock_hz = fields.next()?.parse().ok()?;
        let channels = match fields.next() {
            None | Some("") => 1,
            Some(channels) => channels.parse().ok()?,
        };
        Some((
            number,
            EncodingName {
                name,
                clock_hz,
                channels,
            },
        ))
    };
    parts().ok_or(SdpError::BadField {
        line,
        field: "rtpmap",
        allowed: "a payload type from 0 to 127, a name and a clock rate, as in \"96 opus/48000/2\"",
    })
}

/// `IN IP4 192.0.2.1`; a host name would need a resolver, and a multicast group is no party.
fn parse_connection(line: usize, value: &str) -> Result<IpAddr, SdpError> {
    let mut fields = value.split_ascii_whitespace();
    parse_address(&mut fields)
        .filter(|_| fields.next().is_none())
        .ok_or(SdpError::BadField {
            line,
            field: "c= line",
            allowed: "IN, IP4 or IP6, and a unicast address of that family (no host name)",
        })
}

fn parse_address<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<IpAddr> {
    let network = fields.next()?;
    let family = fields.next()?;
    let address: IpAddr = fields.next()?.parse().ok()?;
    let named = network == "IN" && family == Family::of(address).name();
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    (named && !address.is_multicast() && !broadcast).then_some(address)
}

fn parse_timing(line: usize, value: &str) -> Result<(u64, u64), SdpError> {
    let mut fields = value.split_ascii_whitespace().map(|field| field.parse().ok());
    match (fields.next().flatten(), fields.next().flatten()) {
        (Some(start), Some(stop)) => Ok((start, stop)),
        _ => Err(SdpError::BadField {
            line,
            field: "t= line",
            allowed: "two numbers, as in \"0 0\"",
        }),
    }
}

/// Reads a length in milliseconds, which may have a fraction. There are senders of `ptime:0`: that says nothing.
fn parse_milliseconds(line: usize, field: &'static str, value: &str) -> Result<Option<u32>, SdpError> {
    let decimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = value.trim_ascii();
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    if !decimal(whole) || !decimal(fraction) {
        return Err(SdpError::BadField {
            line,
            field,
            allowed: "a number of milliseconds",
        });
    }
    let fraction_ms = u32::from(fraction.bytes().any(|digit| digit != b'0'));
    let milliseconds = whole.parse().unwrap_or(PTIME_MS_MAX).min(PTIME_MS_MAX) + fraction_ms;
    Ok((milliseconds > 0).then_some(milliseconds))
}

/// RFC 3605 §2.1: `53020` or `53020 IN IP4 192.0.2.1`.
fn parse_rtcp(line: usize, value: &str) -> Result<(u16, Option<IpAddr>), SdpError> {
    let parts = || {
        let mut fields = value.split_ascii_whitespace().peekable();
        let port = fields.next()?.parse().ok().filter(|port| *port != 0)?;
        let address = if fields.peek().is_some() {
            Some(parse_address(&mut fields)?)
        } else {
            None
        };
        Some((port, address))
    };
    parts().ok_or(SdpError::BadField {
        line,
        field: "rtcp",
        allowed: "a port from 1 to 65535 and perhaps an address, as in \"53020 IN IP4 192.0.2.1\"",
    })
}
