//! Offer and answer of one leg over its life: whose turn it is, what was agreed, what the engine is told of it.

use std::net::{IpAddr, SocketAddr};

use crate::codec::Codec;
use crate::config::Config;
use crate::control::admission::{Costs, Kind, LegLoad};
use crate::control::refusal::{INTERNAL, Refusal};
use crate::control::requests::CreateLeg;
use crate::driver::ports::Family;
use crate::leg::{Companion, Format, MediaTerms};
use crate::sdp::{self, Agreed, Codecs, LocalMedia, Order, SdpError, SdpText, SrtpOffer};
use crate::srtp::{MasterKey, Suite};

/// What has been said so far.
#[derive(Debug, Clone)]
pub struct Negotiation {
    local: LocalMedia,
    /// Send to where packets come from, once that address has shown a stream.
    symmetric: bool,
    /// Our answer, or our offer.
    pub ours: SdpText,
    /// `None` while our offer waits for its answer.
    agreed: Option<Agreed>,
}

impl Negotiation {
    /// The family of address that a new leg's sockets need, and the address to tell in SDP.
    pub fn family(request: &CreateLeg, config: &Config) -> Result<(Family, IpAddr), Refusal> {
        let offered = request
            .sdp
            .as_deref()
            .and_then(sdp::offered_family)
            .map(|family| match family {
                sdp::Family::Ipv4 => Family::V4,
                sdp::Family::Ipv6 => Family::V6,
            });
        let family = offered
            .or(request.advertise.as_ref().map(Family::of))
            .unwrap_or_else(|| Family::of(&config.rtp.bind[0]));
        let ours = config
            .rtp
            .advertise
            .iter()
            .find(|address| Family::of(address) == family);
        let Some(ours) = ours else {
            let field = if offered.is_some() { "sdp" } else { "advertise" };
            return Err(Refusal::bad(format!(
                "`{field}`: the daemon has no {} address for media.",
                name(family)
            )));
        };
        match request.advertise {
            Some(other) if Family::of(&other) != family => Err(Refusal::bad(format!(
                "`advertise` must be an {} address, as the offer's is.",
                name(family)
            ))),
            Some(advertised) => Ok((family, advertised)),
            None => Ok((family, *ours)),
        }
    }

    /// The beginning, on the port given: our answer where there is an offer, else our offer.
    pub fn begin(
        request: &CreateLeg,
        config: &Config,
        address: IpAddr,
        rtp_port: u16,
    ) -> Result<(Negotiation, MediaTerms), Refusal> {
        let local = LocalMedia {
            address,
            rtp_port,
            // RFC 8866 §5.2: numeric; kept below 2^63 for those who read it signed.
            session_id: fastrand::u64(1..1 << 62),
            session_version: 1,
            codecs: request.codecs.clone().unwrap_or_else(Codecs::supported),
            order: if request.codecs.is_some() {
                Order::OursFirst
            } else {
                Order::OffererFirst
            },
            ptime_ms: request.offer_ptime_ms,
            opus_bitrate: config.opus.bitrate,
            opus_complexity: config.opus.complexity,
            keys: keys(None)?,
            srtp_offer: request.offer_srtp,
        };
        match &request.sdp {
            Some(offer) => {
                let (ours, agreed) = sdp::answer(offer, &local).map_err(refused)?;
                let terms = terms(&agreed, request.symmetric);
                Ok((
                    Negotiation {
                        local,
                        symmetric: request.symmetric,
                        ours: ours.into(),
                        agreed: Some(agreed),
                    },
                    terms,
                ))
            }
            None => {
                let ours = sdp::offer(&local).into();
                Ok((
                    Negotiation {
                        local,
                        symmetric: request.symmetric,
                        ours,
                        agreed: None,
                    },
                    MediaTerms::nothing(),
                ))
            }
        }
    }

    /// The remote's next word: the answer to our offer, or a new offer, which is answered at once.
    pub fn go_on(&self, remote: &str) -> Result<(Negotiation, MediaTerms), Refusal> {
        let mut next = self.clone();
        let agreed = match &self.agreed {
            None => sdp::accept(&self.local, remote).map_err(refused)?,
            Some(before) => {
                next.local.session_version += 1;
                next.local.keys = keys(before.srtp.as_ref().map(|terms| &terms.ours))?;
                let (ours, agreed) = sdp::answer(remote, &next.local).map_err(refused)?;
                next.ours = ours.into();
                agreed
            }
        };
        let reachable = agreed
            .remote
            .is_none_or(|remote| remote.is_ipv4() == self.local.address.is_ipv4());
        if !reachable {
            let family = name(Family::of(&self.local.address));
            return Err(Refusal::bad(format!(
                "`sdp`: this leg's port is {family}, the remote address is not."
            )));
        }
        let terms = terms(&agreed, self.symmetric);
        next.agreed = Some(agreed);
        Ok((next, terms))
    }

    pub fn is_agreed(&self) -> bool {
        self.agreed.is_some()
    }

    /// Whether the remote is to be sent anything now.
    pub fn sends(&self) -> bool {
        self.agreed
            .as_ref()
            .is_some_and(|agreed| agreed.remote.is_some() && agreed.direction.sends())
    }

    /// Whether the remote is to send anything now.
    pub fn receives(&self) -> bool {
        let agreed = self.agreed.as_ref();
        agreed.is_some_and(|agreed| agreed.direction.receives())
    }

    /// What may arrive: payload types with what they carry, as SDP names it.
    pub fn payload_types(&self) -> Vec<(u8, String)> {
        let Some(agreed) = &self.agreed else {
            return Vec::new();
        };
        let sound = agreed.formats.iter().map(|format| {
            (
                format.payload_type_receive,
                registered_name(format.encoding.codec),
            )
        });
        let companions = |companions: &[sdp::Companion], name: &'static str| {
            let named = companions.iter().map(|companion| {
                (
                    companion.payload_type_receive,
                    format!("{name}/{}", companion.clock_hz),
                )
            });
            named.collect::<Vec<_>>()
        };
        sound
            .chain(companions(&agreed.comfort_noise, "CN"))
            .chain(companions(&agreed.telephone_events, "telephone-event"))
            .collect()
    }

    /// What we send, as soon as something is agreed.
    pub fn codec(&self) -> Option<Codec> {
        self.agreed
            .as_ref()?
            .formats
            .first()
            .map(|format| format.encoding.codec)
    }

    /// What the leg asks of its engine. As long as nothing is agreed, the dearest that may be.
    pub fn load(&self, costs: &Costs) -> LegLoad {
        match self
            .agreed
            .as_ref()
            .and_then(|agreed| Some((agreed, agreed.formats.first()?)))
        {
            Some((agreed, format)) => LegLoad {
                encoding: format.encoding,
                encrypted: agreed.srtp.is_some(),
            },
            None => {
                let codec = costs.dearest(self.local.codecs.as_slice()).unwrap_or(Codec::Pcmu);
                let encoding = Kind::of(codec).encoding(self.local.opus_complexity);
                LegLoad {
                    encoding,
                    encrypted: self.local.srtp_offer != SrtpOffer::Off,
                }
            }
        }
    }

    pub fn remote(&self) -> Option<SocketAddr> {
        self.agreed.as_ref()?.remote
    }

    /// The suite, where packets are encrypted.
    pub fn suite(&self) -> Option<Suite> {
        let terms = self.agreed.as_ref()?.srtp.as_ref()?;
        Some(terms.ours.suite())
    }

    /// Whether digits go as events, both ways.
    pub fn has_telephone_events(&self) -> bool {
        let agreed = self.agreed.as_ref();
        agreed.is_some_and(|agreed| !agreed.telephone_events.is_empty())
    }

    /// Whether silence may be described instead of sent, both ways.
    pub fn has_comfort_noise(&self) -> bool {
        let agreed = self.agreed.as_ref();
        agreed.is_some_and(|agreed| !agreed.comfort_noise.is_empty())
    }

    /// A sentence for each choice that was made.
    pub fn sentences(&self) -> &[String] {
        self.agreed.as_ref().map_or(&[], |agreed| &agreed.negotiation)
    }
}

fn terms(agreed: &Agreed, symmetric: bool) -> MediaTerms {
    MediaTerms {
        remote: agreed.remote,
        remote_rtcp: agreed.remote_rtcp,
        rtcp_mux: agreed.rtcp_mux,
        sends: agreed.direction.sends(),
        receives: agreed.direction.receives(),
        symmetric,
        formats: agreed
            .formats
            .iter()
            .map(|format| Format {
                receive_as: format.payload_type_receive,
                send_as: format.payload_type_send,
                encoding: format.encoding,
                fec_bitrate_max: format.fec_bitrate_max,
            })
            .collect(),
        comfort_noise: agreed.comfort_noise.iter().map(companion).collect(),
        telephone_events: agreed.telephone_events.iter().map(companion).collect(),
        srtp: agreed.srtp.clone(),
    }
}

/// A key for each suite: the one in use goes on, the others are new. A key that came back after another would meet the
/// indices of its packets again.
fn keys(in_use: Option<&MasterKey>) -> Result<Vec<MasterKey>, Refusal> {
    let key = |suite| match in_use {
        Some(key) if key.suite() == suite => Ok(key.clone()),
        _ => fresh_key(suite),
    };
    sdp::SUITES.into_iter().map(key).collect()
}

fn fresh_key(suite: Suite) -> Result<MasterKey, Refusal> {
    let mut bytes = vec![0; suite.master_bytes()];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        Refusal::new(INTERNAL, "The system gives no random numbers for a key.")
    })?;
    Ok(MasterKey::new(suite, &bytes).expect("as long as its suite wants it"))
}

fn companion(agreed: &sdp::Companion) -> Companion {
    Companion {
        receive_as: agreed.payload_type_receive,
        send_as: agreed.payload_type_send,
        clock_hz: agreed.clock_hz,
    }
}

fn refused(error: SdpError) -> Refusal {
    Refusal::bad(format!("`sdp`: {error}."))
}

fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// The name under which a codec stands in SDP.
pub fn registered_name(codec: Codec) -> String {
    let channels = if matches!(codec, Codec::Opus(_)) { "/2" } else { "" };
    format!("{}/{}{channels}", codec.name(), codec.clock_hz())
}
