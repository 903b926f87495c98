//! The daemon as its users meet it: the HTTP calls that load and demo make.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use thiserror::Error;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::sdp::{self, Offer};
use crate::srtp::Terms;

/// A daemon that takes longer to answer than this is as good as none.
const TIMEOUT: Duration = Duration::from_secs(15);

/// More than any recording of a demo, and a bound all the same.
const BODY_BYTES_MAX: u64 = 1 << 28;

/// Why a leg could not be had, or another call did not succeed.
#[derive(Debug, Error)]
pub enum ApiError {
    #[error("our own socket could not be had: {0}")]
    Socket(io::Error),
    #[error("no answer from {url}: {error}")]
    Unreachable { url: String, error: Box<ureq::Error> },
    #[error("{method} {path} was refused with status {status}: {message}")]
    Refused {
        method: &'static str,
        path: String,
        status: u16,
        message: String,
    },
    #[error("the answer to {method} {path} is not what was agreed: {reason}")]
    Malformed {
        method: &'static str,
        path: String,
        reason: String,
    },
}

/// A client of one daemon; clones share its connections.
#[derive(Debug, Clone)]
pub struct Api {
    agent: Agent,
    base: String,
    authorization: Option<String>,
}

/// What the daemon said to an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    pub call_id: String,
    /// Where our packets go.
    pub remote: SocketAddr,
    /// The type that both our packets and the daemon's bear.
    pub payload_type: u8,
    /// The keys of both sides, where packets are encrypted.
    pub srtp: Option<Terms>,
}

impl Api {
    /// `url` is the daemon's origin (`http://127.0.0.1:8080`), `key` is `key:secret` where it wants one.
    pub fn new(url: &str, key: Option<&str>) -> Api {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .proxy(None)
            .max_redirects(0)
            .build()
            .into();
        let authorization = key.map(|key| format!("Basic {}", BASE64.encode(key)));
        Api {
            agent,
            base: url.trim_end_matches('/').to_owned(),
            authorization,
        }
    }

    pub fn url(&self) -> &str {
        &self.base
    }

    /// Asks for a leg that will send and receive at `local` as offered.
    pub fn seat(
        &self,
        conference_id: &str,
        call_id: &str,
        offer: &Offer,
        local: SocketAddr,
    ) -> Result<Seat, ApiError> {
        let (method, path) = ("POST", "/v1/legs");
        let body = json!({
            "conferenceId": conference_id,
            "callId": call_id,
            "sdp": offer.text(local),
        });
        let leg = self.json(method, path, Some(&body))?;
        let malformed = |reason: &str| ApiError::Malformed {
            method,
            path: path.into(),
            reason: reason.into(),
        };
        let answered = leg["callId"]
            .as_str()
            .ok_or_else(|| malformed("there is no callId"))?;
        let sdp = leg["sdp"].as_str().ok_or_else(|| malformed("there is no sdp"))?;
        let answer = sdp::answer(sdp).ok_or_else(|| malformed("the sdp takes no audio"))?;
        if answer.payload_type != sdp::payload_type(offer.codec) {
            return Err(malformed(&format!(
                "{} was offered, payload type {} was taken",
                offer.codec.name(),
                answer.payload_type
            )));
        }
        let srtp = match (&offer.key, answer.key) {
            (None, _) => None,
            (Some(ours), Some(theirs)) if theirs.suite() == ours.suite() => Some(Terms {
                ours: ours.clone(),
                theirs,
                their_mki_bytes: 0,
            }),
            (Some(_), _) => return Err(malformed("there is no key of the suite that was offered")),
        };
        if answer.protocol != offer.protocol() {
            return Err(malformed("the transport is not the one that was offered"));
        }
        Ok(Seat {
            call_id: answered.to_owned(),
            remote: answer.remote,
            payload_type: answer.payload_type,
            srtp,
        })
    }

    pub fn unseat(&self, call_id: &str) -> Result<(), ApiError> {
        self.call("DELETE", &format!("/v1/legs/{}", encoded(call_id)), None)
            .map(drop)
    }

    /// The figures of a leg.
    pub fn media(&self, call_id: &str) -> Result<Value, ApiError> {
        let leg = self.json("GET", &format!("/v1/legs/{}", encoded(call_id)), None)?;
        Ok(leg["media"].clone())
    }

    /// `mute`, `unmute`, `onhold` or `resume`.
    pub fn command(&self, conference_id: &str, call_id: &str, command: &str) -> Result<(), ApiError> {
        let path = format!("{}/{}", conference(conference_id), encoded(call_id));
        self.call("PATCH", &path, Some(&json!({ "command": command })))
            .map(drop)
    }

    /// Says what becomes of the keys that a leg's party presses: `conferenceDtmfOptions`.
    pub fn set_digit_options(&self, call_id: &str, options: &Value) -> Result<(), ApiError> {
        let body = json!({ "conferenceDtmfOptions": options });
        self.call("PATCH", &format!("/v1/legs/{}", encoded(call_id)), Some(&body))
            .map(drop)
    }

    /// All that was told of a conference that is over.
    pub fn events_until_its_end(&self, conference_id: &str) -> Result<Vec<Value>, ApiError> {
        let path = format!("/v1/events?conferenceId={}&after=0", encoded(conference_id));
        let response = self.call("GET", &path, None)?;
        let mut events: Vec<Value> = Vec::new();
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line.map_err(|error| self.unreachable(error.into()))?;
            let Some(event) = line
                .strip_prefix("data: ")
                .and_then(|data| serde_json::from_str::<Value>(data).ok())
            else {
                continue;
            };
            let is_last = event["type"] == "room.ended";
            events.push(event);
            if is_last {
                break;
            }
        }
        Ok(events)
    }

    pub fn kick(&self, conference_id: &str, call_id: &str) -> Result<(), ApiError> {
        self.call(
            "DELETE",
            &format!("{}/{}", conference(conference_id), encoded(call_id)),
            None,
        )
        .map(drop)
    }

    /// Starts to record a conference, as `RecordingOptions` say, and returns the recording's id.
    pub fn record(&self, conference_id: &str, options: &Value) -> Result<String, ApiError> {
        let (method, path) = ("POST", format!("{}/recording", conference(conference_id)));
        let started = self.json(method, &path, Some(options))?;
        let id = started["recordingId"].as_str().map(str::to_owned);
        id.ok_or_else(|| ApiError::Malformed {
            method,
            path,
            reason: "there is no recordingId".into(),
        })
    }

    pub fn stop_recording(&self, conference_id: &str) -> Result<(), ApiError> {
        self.call(
            "DELETE",
            &format!("{}/recording", conference(conference_id)),
            None,
        )
        .map(drop)
    }

    /// The recording's state and receipt.
    pub fn receipt(&self, recording_id: &str) -> Result<Value, ApiError> {
        self.json("GET", &format!("/v1/recordings/{}", encoded(recording_id)), None)
    }

    /// The recording's file, whole.
    pub fn recorded_audio(&self, recording_id: &str) -> Result<Vec<u8>, ApiError> {
        let (method, path) = ("GET", format!("/v1/recordings/{}/audio", encoded(recording_id)));
        let mut response = self.call(method, &path, None)?;
        let audio = response
            .body_mut()
            .with_config()
            .limit(BODY_BYTES_MAX)
            .read_to_vec();
        audio.map_err(|error| self.unreachable(error))
    }

    pub fn metrics(&self) -> Result<String, ApiError> {
        let mut response = self.call("GET", "/metrics", None)?;
        let text = response
            .body_mut()
            .with_config()
            .limit(BODY_BYTES_MAX)
            .read_to_string();
        text.map_err(|error| self.unreachable(error))
    }

    fn json(&self, method: &'static str, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let mut response = self.call(method, path, body)?;
        let text = response
            .body_mut()
            .read_to_string()
            .map_err(|error| self.unreachable(error))?;
        serde_json::from_str(&text).map_err(|error| ApiError::Malformed {
            method,
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    fn call(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Body>, ApiError> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let sent = match body {
            None => request
                .body(())
                .map_err(ureq::Error::from)
                .and_then(|request| self.agent.run(request)),
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_string())
                .map_err(ureq::Error::from)
                .and_then(|request| self.agent.run(request)),
        };
        let mut response = sent.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.body_mut().read_to_string().unwrap_or_default();
        let message = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|error| error["message"].as_str().map(str::to_owned))
            .unwrap_or(text);
        Err(ApiError::Refused {
            method,
            path: path.to_owned(),
            status: status.as_u16(),
            message,
        })
    }

    fn unreachable(&self, error: ureq::Error) -> ApiError {
        ApiError::Unreachable {
            url: self.base.clone(),
            error: Box::new(error),
        }
    }
}

fn encoded(id: &str) -> String {
    utf8_percent_encode(id, NON_ALPHANUMERIC).to_string()
}

fn conference(conference_id: &str) -> String {
    format!("/v1/conferences/id/{}", encoded(conference_id))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;
    use crate::codec::Codec;
    use crate::srtp::{MasterKey, Suite};

    fn plain(codec: Codec) -> Offer {
        Offer {
            codec,
            ptime_ms: 20,
            key: None,
            has_keys: false,
        }
    }

    /// Answers one request as told, and returns what was asked.
    fn server(answer: impl Into<String>) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let answer = answer.into();
        let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
        let asked = thread::spawn(move || {
            let (mut connection, _) = listener.accept().expect("the client comes");
            let mut asked = String::new();
            let mut buffer = [0; 4_096];
            // A body follows in a write of its own, and ours all end with a brace.
            while !(asked.contains("\r\n\r\n") && (asked.ends_with('}') || !asked.contains("content-type"))) {
                let bytes = connection.read(&mut buffer).expect("the client asks");
                asked.push_str(std::str::from_utf8(&buffer[..bytes]).expect("the request is text"));
            }
            connection
                .write_all(answer.as_bytes())
                .expect("the client listens");
            asked
        });
        (url, asked)
    }

    #[test]
    fn a_seat_is_asked_for_with_an_offer_and_the_answer_tells_where_to_send() {
        let (url, asked) = server(
            "HTTP/1.1 201 Created\r\nconnection: close\r\n\r\n{\"callId\":\"leg 7\",\"conferenceId\":\"r\",\
             \"sdp\":\"v=0\\r\\nc=IN IP4 127.0.0.1\\r\\nm=audio 10010 RTP/AVP 8\\r\\n\"}",
        );
        let local = "127.0.0.1:4000".parse().expect("an address");
        let seat = Api::new(&url, Some("key:secret"))
            .seat("r", "leg 7", &plain(Codec::Pcma), local)
            .expect("it is seated");
        let remote = "127.0.0.1:10010".parse().expect("an address");
        assert_eq!(
            seat,
            Seat {
                call_id: "leg 7".into(),
                remote,
                payload_type: 8,
                srtp: None,
            }
        );
        let asked = asked.join().expect("it was asked");
        assert!(asked.starts_with("POST /v1/legs HTTP/1.1\r\n"), "{asked}");
        assert!(
            asked.contains("authorization: Basic a2V5OnNlY3JldA==\r\n"),
            "{asked}"
        );
        assert!(asked.contains("PCMA/8000"), "{asked}");
    }

    #[test]
    fn an_answer_with_another_codec_than_offered_is_refused() {
        let (url, asked) = server(
            "HTTP/1.1 201 Created\r\nconnection: close\r\n\r\n{\"callId\":\"a\",\
             \"sdp\":\"c=IN IP4 127.0.0.1\\r\\nm=audio 10010 RTP/AVP 8\\r\\n\"}",
        );
        let local = "127.0.0.1:4000".parse().expect("an address");
        let error = Api::new(&url, None)
            .seat("r", "a", &plain(Codec::Pcmu), local)
            .expect_err("it is another codec");
        assert!(matches!(error, ApiError::Malformed { .. }), "{error}");
        asked.join().expect("it was asked");
    }

    #[test]
    fn an_answer_without_a_key_to_an_encrypted_offer_is_refused() {
        for (sdp_media, reason) in [
            ("RTP/SAVP 0", "no key"),
            ("RTP/AVP 0", "no key"),
            (
                "RTP/AVP 0\\r\\na=crypto:1 AEAD_AES_128_GCM inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
                "the transport",
            ),
        ] {
            let (url, asked) = server(format!(
                "HTTP/1.1 201 Created\r\nconnection: close\r\n\r\n{{\"callId\":\"a\",\
                 \"sdp\":\"c=IN IP4 127.0.0.1\\r\\nm=audio 10010 {sdp_media}\\r\\n\"}}"
            ));
            let offer = Offer {
                key: MasterKey::new(Suite::AeadAes128Gcm, &[7; 28]),
                ..plain(Codec::Pcmu)
            };
            let local = "127.0.0.1:4000".parse().expect("an address");
            let error = Api::new(&url, None)
                .seat("r", "a", &offer, local)
                .expect_err("nothing was agreed");
            assert!(error.to_string().contains(reason), "{error}");
            asked.join().expect("it was asked");
        }
    }

    #[test]
    fn names_are_encoded_once_and_a_refusal_tells_its_status_and_message() {
        let (url, asked) = server(
            "HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n\
             {\"errorCode\":40400,\"message\":\"There is no such leg.\",\"reference\":\"\"}",
        );
        let error = Api::new(&url, None)
            .kick("a room/ä", "leg%1")
            .expect_err("it is refused");
        let asked = asked.join().expect("it was asked");
        assert!(
            asked.starts_with("DELETE /v1/conferences/id/a%20room%2F%C3%A4/leg%251 HTTP/1.1\r\n"),
            "{asked}"
        );
        let sentence = error.to_string();
        assert!(
            sentence.contains("404") && sentence.contains("There is no such leg."),
            "{sentence}"
        );
    }
}
