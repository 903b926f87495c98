//! What may be asked, parsed once from JSON into types that cannot be wrong.
//!
//! Our own requests refuse fields they do not know and name those that are not available yet; the platform's
//! commands ignore what they do not know. Fields of the platform's REST routes are spelled as it documents them; what
//! its callouts and SVAML call otherwise (`mohClass`, `callid`, `options`) is for whoever translates those.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use crate::control::digits;
use crate::control::fields::Fields;
use crate::control::ids::{CallId, ConferenceId};
use crate::control::refusal::Refusal;
use crate::dsp::Music;
use crate::frame::Rate;
use crate::jitter::{DELAY_MAX, DELAY_MIN};
use crate::leg::DigitSettings;
use crate::record::{Destination, Rules};
use crate::sdp::{Codecs, SdpText, SrtpOffer};

const CLI_CHARS_MAX: usize = 256;
/// A longer description is refused where it is parsed; this only bounds the string.
const SDP_CHARS_MAX: usize = 64 * 1024;
const CUSTOM_BYTES_MAX: usize = 1024;
const GAIN_DB: std::ops::RangeInclusive<f64> = -60.0..=24.0;
const MEDIA_TIMEOUT_S: std::ops::RangeInclusive<u64> = 0..=86_400;
const MAX_DELAY_MS: std::ops::RangeInclusive<u64> =
    DELAY_MIN.as_millis() as u64..=DELAY_MAX.as_millis() as u64;
/// As many talkers as nobody can tell apart.
const TALKERS_MAX: std::ops::RangeInclusive<u64> = 1..=1_000;
pub const PARTICIPANTS_MAX: u64 = 1_000_000;

const MUSIC: &str = "ring, music1, music2 or music3";

#[derive(Debug, Clone, PartialEq)]
pub struct CreateLeg {
    pub conference: ConferenceId,
    pub call: Option<CallId>,
    pub cli: Option<String>,
    /// The remote's offer; without it the offer is ours.
    pub sdp: Option<SdpText>,
    pub muted: bool,
    pub deaf: bool,
    pub gain_db: f64,
    pub music: Option<Music>,
    /// The conference begins with it; otherwise it waits for one with which it does.
    pub start_on_enter: bool,
    /// The conference ends when it leaves, also for another.
    pub end_on_exit: bool,
    pub record: Option<RecordingOptions>,
    pub max_delay: Option<Duration>,
    pub advertise: Option<IpAddr>,
    /// In order of preference.
    pub codecs: Option<Codecs>,
    /// Packet time of our own offer, in milliseconds.
    pub offer_ptime_ms: u8,
    pub offer_srtp: SrtpOffer,
    /// `false`: a remote that sends from another port than it listens on is still sent to where its SDP says.
    pub symmetric: bool,
    pub digits: Option<DigitSettings>,
    /// Seconds; zero: never.
    pub media_timeout_s: Option<u64>,
    pub end_on_media_timeout: Option<bool>,
    pub custom: Option<Value>,
}

impl CreateLeg {
    pub fn parse(mut fields: Fields, rules: &Rules) -> Result<CreateLeg, Refusal> {
        let f = &mut fields;
        let conference = conference_id(f)?.ok_or_else(|| Refusal::missing("conferenceId"))?;
        let call = f
            .text("callId", usize::MAX)?
            .map(|id| CallId::parse(&id))
            .transpose()?;
        let recording_options = f
            .object("recordingOptions")?
            .map(|fields| RecordingOptions::parse(fields, rules))
            .transpose()?;
        let record = match (f.flag("record")?, recording_options) {
            (Some(true), None) => Some(RecordingOptions::parse(Fields::default(), rules)?),
            (Some(true), options) => options,
            _ => None,
        };
        let advertise = f.text("advertise", 64)?.map(|text| address(&text)).transpose()?;
        let (offer_ptime_ms, offer_srtp) = offer(f)?;
        let codecs = f.texts("codecs", 16)?.map(|names| codecs(&names)).transpose()?;
        let request = CreateLeg {
            conference,
            call,
            cli: f.text("cli", CLI_CHARS_MAX)?,
            sdp: f.text("sdp", SDP_CHARS_MAX)?.map(SdpText::from),
            muted: f.flag("muted")?.unwrap_or(false),
            deaf: f.flag("deaf")?.unwrap_or(false),
            gain_db: f.decimal("gainDb", GAIN_DB)?.unwrap_or(0.0),
            music: music(f)?,
            start_on_enter: f.flag("startOnEnter")?.unwrap_or(true),
            end_on_exit: f.flag("endOnExit")?.unwrap_or(false),
            record,
            max_delay: max_delay(f)?,
            advertise,
            codecs,
            offer_ptime_ms,
            offer_srtp,
            symmetric: f.flag("symmetric")?.unwrap_or(true),
            digits: digits::settings(f)?,
            media_timeout_s: media_timeout_s(f)?,
            end_on_media_timeout: f.flag("endOnMediaTimeout")?,
            custom: f.any("custom", CUSTOM_BYTES_MAX)?,
        };
        fields.finish()?;
        Ok(request)
    }
}

/// What is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChangeLeg {
    /// Our offer's answer, or a new offer.
    pub sdp: Option<SdpText>,
    pub conference: Option<ConferenceId>,
    pub muted: Option<bool>,
    pub deaf: Option<bool>,
    pub gain_db: Option<f64>,
    pub onhold: Option<bool>,
    /// With a held leg what it hears, else what it hears while it is alone.
    pub music: Option<Option<Music>>,
    /// What is not said of digits is as it is by default, all of it where they are cleared.
    pub digits: Option<DigitSettings>,
    /// `Some(None)`: as it is configured for all.
    pub media_timeout_s: Option<Option<u64>>,
    pub end_on_media_timeout: Option<Option<bool>>,
}

impl ChangeLeg {
    pub fn parse(mut fields: Fields) -> Result<ChangeLeg, Refusal> {
        let f = &mut fields;
        let change = ChangeLeg {
            sdp: f.text("sdp", SDP_CHARS_MAX)?.map(SdpText::from),
            conference: conference_id(f)?,
            muted: f.flag("muted")?,
            deaf: f.flag("deaf")?,
            gain_db: f.decimal("gainDb", GAIN_DB)?,
            onhold: f.flag("onhold")?,
            music: f.clearable("moh", music)?,
            digits: f
                .clearable("conferenceDtmfOptions", digits::settings)?
                .map(Option::unwrap_or_default),
            media_timeout_s: f.clearable("mediaTimeoutS", media_timeout_s)?,
            end_on_media_timeout: f.clearable("endOnMediaTimeout", |f| f.flag("endOnMediaTimeout"))?,
        };
        fields.finish()?;
        Ok(change)
    }
}

/// A command of the platform's PATCH, as the change of the leg that it is.
pub fn platform_command(mut fields: Fields) -> Result<ChangeLeg, Refusal> {
    enum Command {
        Mute(bool),
        Hold(bool),
    }
    let command = fields
        .word("command", "mute, unmute, onhold or resume", |word| match word {
            "mute" => Some(Command::Mute(true)),
            "unmute" => Some(Command::Mute(false)),
            "onhold" => Some(Command::Hold(true)),
            "resume" => Some(Command::Hold(false)),
            _ => None,
        })?
        .ok_or_else(|| Refusal::missing("command"))?;
    Ok(match command {
        Command::Mute(muted) => ChangeLeg {
            muted: Some(muted),
            ..ChangeLeg::default()
        },
        // The music counts only here; a hold that names none is silent.
        Command::Hold(true) => {
            let music = music(&mut fields)?;
            ChangeLeg {
                onhold: Some(true),
                music: Some(music),
                ..ChangeLeg::default()
            }
        }
        Command::Hold(false) => ChangeLeg {
            onhold: Some(false),
            ..ChangeLeg::default()
        },
    })
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChangeConference {
    pub locked: Option<bool>,
    pub participants_max: Option<Option<u64>>,
    /// `Some(None)`: all who contribute are heard.
    pub talkers_max: Option<Option<u16>>,
    pub music: Option<Option<Music>>,
    pub max_delay: Option<Option<Duration>>,
    /// `Some(None)`: the highest rate that a codec in use needs.
    pub sample_rate: Option<Option<Rate>>,
    pub activity_detection: Option<bool>,
}

impl ChangeConference {
    pub fn parse(mut fields: Fields) -> Result<ChangeConference, Refusal> {
        let f = &mut fields;
        let change = ChangeConference {
            locked: f.flag("locked")?,
            participants_max: f.clearable("maxParticipants", |f| {
                f.whole("maxParticipants", 1..=PARTICIPANTS_MAX)
            })?,
            talkers_max: f.clearable("maxTalkers", |f| {
                Ok(f.whole("maxTalkers", TALKERS_MAX)?.map(|max| max as u16))
            })?,
            music: f.clearable("moh", music)?,
            max_delay: f.clearable("maxDelayMs", max_delay)?,
            sample_rate: f.clearable("sampleRate", sample_rate)?,
            activity_detection: f.word("activity", "auto or off", |word| match word {
                "auto" => Some(true),
                "off" => Some(false),
                _ => None,
            })?,
        };
        fields.finish()?;
        Ok(change)
    }
}

/// `RecordingOptions` of the contract.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordingOptions {
    pub destination: Destination,
    pub rate: Rate,
    /// A track of each leg beside the mix.
    pub legs: bool,
    /// Whether the end is to be told.
    pub notifies: bool,
    /// What was accepted and has no effect.
    pub notes: Vec<String>,
}

impl RecordingOptions {
    pub fn parse(mut fields: Fields, rules: &Rules) -> Result<RecordingOptions, Refusal> {
        let f = &mut fields;
        let url = f.text("destinationUrl", 4096)?.or(f.text("destination", 4096)?);
        let format = f.text("format", 16)?;
        let legs = f.word("tracks", "mix or mix+legs", |word| match word {
            "mix" => Some(false),
            "mix+legs" => Some(true),
            _ => None,
        })?;
        let notifies = f.flag("notificationEvents")?.unwrap_or(true);
        let mut notes = Vec::new();
        if f.object("transcriptionOptions")?.is_some() {
            notes.push("`transcriptionOptions` is accepted and ignored.".to_owned());
        }
        let credentials = f.text("credentials", 4096)?;
        let rate = sample_rate(f)?.unwrap_or(Rate::Hz16000);
        let destination =
            Destination::parse(url.as_deref(), credentials.as_deref(), format.as_deref(), rules)
                .map_err(|error| Refusal::bad(format!("`{}`: {error}.", f.path(error.field()))))?;
        if credentials.is_some() && destination.credentials.is_none() {
            notes.push("`credentials` are ignored: the destination needs none.".to_owned());
        }
        fields.finish()?;
        Ok(RecordingOptions {
            destination,
            rate,
            legs: legs.unwrap_or(false),
            notifies,
            notes,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingCommand {
    Pause,
    Resume,
}

impl RecordingCommand {
    pub fn parse(mut fields: Fields) -> Result<RecordingCommand, Refusal> {
        let command = fields
            .word("command", "pause or resume", |word| match word {
                "pause" => Some(RecordingCommand::Pause),
                "resume" => Some(RecordingCommand::Resume),
                _ => None,
            })?
            .ok_or_else(|| Refusal::missing("command"))?;
        fields.finish()?;
        Ok(command)
    }
}

fn conference_id(fields: &mut Fields) -> Result<Option<ConferenceId>, Refusal> {
    fields
        .text("conferenceId", usize::MAX)?
        .map(|id| ConferenceId::parse(&id))
        .transpose()
}

fn music(fields: &mut Fields) -> Result<Option<Music>, Refusal> {
    fields.word("moh", MUSIC, Music::from_name)
}

fn max_delay(fields: &mut Fields) -> Result<Option<Duration>, Refusal> {
    Ok(fields
        .whole("maxDelayMs", MAX_DELAY_MS)?
        .map(Duration::from_millis))
}

fn media_timeout_s(fields: &mut Fields) -> Result<Option<u64>, Refusal> {
    fields.whole("mediaTimeoutS", MEDIA_TIMEOUT_S)
}

fn sample_rate(fields: &mut Fields) -> Result<Option<Rate>, Refusal> {
    match fields.whole("sampleRate", 0..=u64::MAX)? {
        None => Ok(None),
        Some(hz) => u32::try_from(hz)
            .ok()
            .and_then(Rate::from_hz)
            .map(Some)
            .ok_or_else(|| fields.wrong("sampleRate", "8000, 16000 or 48000")),
    }
}

fn address(text: &str) -> Result<IpAddr, Refusal> {
    text.parse()
        .ok()
        .filter(|address: &IpAddr| !address.is_unspecified() && !address.is_multicast())
        .ok_or_else(|| Refusal::bad("`advertise` must be the IP address of one host."))
}

fn codecs(names: &[String]) -> Result<Codecs, Refusal> {
    Codecs::named(names.iter().map(String::as_str))
        .map_err(|error| Refusal::bad(format!("`codecs`: {error}.")))
}

/// The packet time in milliseconds, and the encryption, that our own offer asks for.
fn offer(fields: &mut Fields) -> Result<(u8, SrtpOffer), Refusal> {
    let Some(mut offer) = fields.object("offer")? else {
        return Ok((20, SrtpOffer::Off));
    };
    let allowed = "off or sdes (dtls is not available yet)";
    let srtp = offer.word("srtp", allowed, |word| match word {
        "off" => Some(SrtpOffer::Off),
        "sdes" => Some(SrtpOffer::Sdes),
        _ => None,
    })?;
    let ptime_ms = offer.whole("ptimeMs", 10..=60)?.unwrap_or(20);
    if !ptime_ms.is_multiple_of(10) {
        return Err(offer.wrong("ptimeMs", "10, 20, 30, 40, 50 or 60"));
    }
    offer.finish()?;
    Ok((ptime_ms as u8, srtp.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtmf::Mode;

    fn fields(body: &str) -> Fields {
        Fields::parse(body.as_bytes()).unwrap()
    }

    fn create(body: &str) -> Result<CreateLeg, Refusal> {
        CreateLeg::parse(fields(body), &Rules::default())
    }

    #[test]
    fn a_leg_needs_a_conference_and_takes_every_documented_field() {
        assert_eq!(create("{}").unwrap_err().code, 40002);
        let leg = create(
            r#"{"conferenceId":"r","callId":"c","cli":"+46","muted":true,"deaf":true,"gainDb":-6,"moh":"music2",
                "startOnEnter":true,"endOnExit":true,"record":true,"recordingOptions":{"format":"wav","tracks":"mix",
                "sampleRate":8000,"notificationEvents":false,"transcriptionOptions":{"enabled":true}},
                "conferenceDtmfOptions":{"mode":"detect","maxDigits":2,"timoutMills":10},"maxDelayMs":200,
                "mediaTimeoutS":0,"endOnMediaTimeout":true,"advertise":"192.0.2.1","codecs":["PCMA"],"offer":{"srtp":"sdes","ptimeMs":30},"symmetric":false,
                "custom":{"any":[1]}}"#,
        )
        .unwrap();
        assert!(leg.muted && leg.deaf && leg.start_on_enter && leg.end_on_exit && !leg.symmetric);
        assert_eq!(
            (leg.gain_db, leg.offer_ptime_ms, leg.music),
            (-6.0, 30, Some(Music::Music2))
        );
        let detect = Mode::Detect {
            max_digits: 2,
            timeout: Duration::from_millis(10),
        };
        assert_eq!(leg.digits.map(|digits| digits.mode), Some(detect));
        assert_eq!(leg.offer_srtp, SrtpOffer::Sdes);
        assert_eq!(
            (leg.media_timeout_s, leg.end_on_media_timeout),
            (Some(0), Some(true))
        );
        let record = leg.record.unwrap();
        assert_eq!((record.rate, record.notes.len()), (Rate::Hz8000, 1));
    }

    #[test]
    fn what_is_wrong_unknown_or_not_there_yet_is_named() {
        for (body, says) in [
            (r#""extra":1"#, "`extra` is not a field"),
            (
                r#""moh":"music9""#,
                "`moh` must be ring, music1, music2 or music3.",
            ),
            (r#""muted":1"#, "`muted`"),
            (r#""startOnEnter":1"#, "`startOnEnter` must be true or false."),
            (
                r#""mediaTimeoutS":-1"#,
                "`mediaTimeoutS` must be a whole number from 0 to 86400.",
            ),
            (
                r#""endOnMediaTimeout":1"#,
                "`endOnMediaTimeout` must be true or false.",
            ),
            (r#""conferenceDtmfOptions":{"x":1}"#, "`conferenceDtmfOptions.x`"),
            (
                r#""offer":{"srtp":"dtls"}"#,
                "`offer.srtp` must be off or sdes (dtls is not available yet).",
            ),
            (r#""offer":{"ptimeMs":25}"#, "`offer.ptimeMs`"),
            (r#""advertise":"0.0.0.0""#, "`advertise`"),
            (r#""codecs":["none"]"#, "`codecs`"),
            (r#""gainDb":99"#, "`gainDb` must be a number from -60 to 24"),
            (r#""callId":"play""#, "`callId`"),
            (r#""callId":1"#, "`callId` must be a string."),
            (
                r#""recordingOptions":{"sampleRate":44100}"#,
                "`recordingOptions.sampleRate` must be 8000",
            ),
            (
                r#""recordingOptions":{"format":"mp3"}"#,
                "`recordingOptions.format`",
            ),
            (
                r#""recordingOptions":{"destinationUrl":"s3://b/k"}"#,
                "`recordingOptions.destinationUrl`",
            ),
            (
                r#""recordingOptions":{"tracks":"all"}"#,
                "`recordingOptions.tracks`",
            ),
        ] {
            let refusal = create(&format!(r#"{{"conferenceId":"r",{body}}}"#)).unwrap_err();
            assert_eq!(refusal.code / 100, 400, "{body}");
            assert!(refusal.message.contains(says), "{body}: {refusal}");
        }
    }

    #[test]
    fn a_platform_command_is_a_change_of_the_leg_and_ignores_what_it_does_not_know() {
        let command = |body: &str| platform_command(fields(body));
        assert_eq!(
            command(r#"{"command":"mute","x":1,"moh":"bad"}"#).unwrap().muted,
            Some(true)
        );
        assert_eq!(command(r#"{"command":"unmute"}"#).unwrap().muted, Some(false));
        let hold = command(r#"{"command":"onhold","moh":"ring"}"#).unwrap();
        assert_eq!((hold.onhold, hold.music), (Some(true), Some(Some(Music::Ring))));
        assert_eq!(command(r#"{"command":"onhold"}"#).unwrap().music, Some(None));
        assert_eq!(command(r#"{"command":"resume"}"#).unwrap().onhold, Some(false));
        assert_eq!(command("{}").unwrap_err().code, 40002);
        assert_eq!(command(r#"{"command":"sing"}"#).unwrap_err().code, 40001);
        assert_eq!(
            command(r#"{"command":"onhold","moh":"bad"}"#).unwrap_err().code,
            40001
        );
    }

    #[test]
    fn a_change_of_a_leg_tells_clearing_its_digits_from_leaving_them() {
        let change = |body: &str| ChangeLeg::parse(fields(body)).unwrap().digits;
        assert_eq!(change("{}"), None);
        assert_eq!(
            change(r#"{"conferenceDtmfOptions":null}"#),
            Some(DigitSettings::default())
        );
        let forward = change(r#"{"conferenceDtmfOptions":{"mode":"forward"}}"#);
        assert_eq!(forward.map(|digits| digits.mode), Some(Mode::Forward));
    }

    #[test]
    fn a_change_of_a_room_tells_clearing_from_leaving() {
        let change = |body: &str| ChangeConference::parse(fields(body));
        let cleared = change(
            r#"{"maxParticipants":null,"maxTalkers":null,"sampleRate":null,"moh":null,"activity":"off"}"#,
        )
        .unwrap();
        assert_eq!(cleared.talkers_max, Some(None));
        assert_eq!(change(r#"{"maxTalkers":3}"#).unwrap().talkers_max, Some(Some(3)));
        assert_eq!(cleared.participants_max, Some(None));
        assert_eq!((cleared.sample_rate, cleared.music), (Some(None), Some(None)));
        assert_eq!((cleared.locked, cleared.activity_detection), (None, Some(false)));
        assert_eq!(
            change(r#"{"sampleRate":48000}"#).unwrap().sample_rate,
            Some(Some(Rate::Hz48000))
        );
        for bad in [
            r#"{"sampleRate":44100}"#,
            r#"{"maxTalkers":0}"#,
            r#"{"maxTalkers":1001}"#,
            r#"{"maxTalkers":"3"}"#,
            r#"{"maxParticipants":0}"#,
            r#"{"activity":1}"#,
        ] {
            assert_eq!(change(bad).unwrap_err().code, 40001, "{bad}");
        }
    }
}
