//! The five calls in the words of aws-sdk-s3, and its answers in ours. No retries, no time-outs, no decisions.

use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials as Keys, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, ServerSideEncryption,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use md5::{Digest, Md5};

use super::answer::{Answer, Call, Reason, Refusal, SentPart};
use super::{Encryption, Endpoint, Object, StoreSettings};
use crate::record::credentials::Credentials;

/// Clients kept, each with its idle connections; one for each pair of credentials and region in use.
const CLIENTS_MAX: usize = 32;

/// Characters of a store's own words that are passed on.
const MESSAGE_CHARACTERS_MAX: usize = 200;

/// Bytes of a key or secret that no message holds by chance.
const TELLING_BYTES: usize = 8;

/// Buckets remembered for encrypting with a key of KMS.
const BUCKETS_MAX: usize = 256;

#[derive(Default)]
pub struct Clients {
    /// By what they sign with, the last used at the end.
    clients: Mutex<Vec<(Option<Credentials>, S3Client)>>,
    encrypted: Arc<Encrypted>,
}

/// Buckets whose answers tell of encryption that leaves no MD5 in the ETag, the last learned at the end.
#[derive(Default)]
struct Encrypted(Mutex<Vec<String>>);

#[derive(Clone)]
pub struct S3Client {
    client: Client,
    encryption: Encryption,
    etag_is_md5: bool,
    encrypted: Arc<Encrypted>,
    credentials: Option<Credentials>,
}

/// What an answer says of the bytes that the store holds.
struct Holding<'a> {
    bucket: &'a str,
    sse: Option<&'a ServerSideEncryption>,
    etag: &'a str,
    /// CRC-32C in base64.
    checksum: Option<&'a str>,
}

/// Bytes to send, with what the store should say of them.
pub struct Body {
    bytes: Bytes,
    pub crc32c: u32,
    md5: [u8; 16],
}

impl Body {
    pub fn new(bytes: Bytes) -> Body {
        Body {
            crc32c: checksum(CrcAlgorithm::Crc32Iscsi, &bytes) as u32,
            md5: Md5::digest(&bytes).into(),
            bytes,
        }
    }
}

impl Clients {
    pub async fn client(&self, settings: &StoreSettings, credentials: Option<&Credentials>) -> S3Client {
        {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = clients.iter().position(|(of, _)| of.as_ref() == credentials) {
                let found = clients.remove(at);
                let client = found.1.clone();
                clients.push(found);
                return client;
            }
        }
        let made = S3Client::new(settings, credentials.cloned(), self.encrypted.clone()).await;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS_MAX {
            clients.remove(0);
        }
        clients.push((credentials.cloned(), made.clone()));
        made
    }

    /// Makes every client anew when it is needed next.
    pub fn forget(&self) {
        self.clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// An answer has told that ETags of this bucket say nothing of the bytes.
    pub fn is_known_encrypted(&self, bucket: &str) -> bool {
        let buckets = self.encrypted.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.iter().any(|known| known == bucket)
    }
}

impl Encrypted {
    fn learn(&self, bucket: &str) {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.iter().any(|known| known == bucket) {
            return;
        }
        if buckets.len() >= BUCKETS_MAX {
            buckets.remove(0);
        }
        buckets.push(bucket.to_owned());
    }
}

impl S3Client {
    async fn new(
        settings: &StoreSettings,
        credentials: Option<Credentials>,
        encrypted: Arc<Encrypted>,
    ) -> S3Client {
        let region = credentials
            .as_ref()
            .map(|credentials| credentials.region().to_owned())
            .or_else(|| settings.region.clone())
            .unwrap_or_else(|| "us-east-1".to_owned());
        let mut config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region))
            // The plan retries, and knows how long to wait.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // We send the checksum ourselves, in a header: many stores do not take it behind a chunked body.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .force_path_style(settings.path_style)
            .disable_multi_region_access_points(true)
            .disable_s3_express_session_auth(true);
        if let Endpoint::Url(url) = &settings.endpoint {
            config = config.endpoint_url(url);
            if url.starts_with("http://") {
                config = config.http_client(aws_smithy_http_client::Builder::new().build_http());
            }
        }
        config = match &credentials {
            Some(credentials) => config.credentials_provider(Keys::new(
                credentials.key(),
                credentials.secret(),
                None,
                None,
                "mixminus",
            )),
            None => config.credentials_provider(DefaultCredentialsChain::builder().build().await),
        };
        S3Client {
            client: Client::from_conf(config.build()),
            encryption: settings.encryption.clone(),
            etag_is_md5: settings.etag_is_md5(),
            encrypted,
            credentials,
        }
    }

    pub async fn call(&self, object: &Object, call: &Call, body: Body) -> Answer {
        let answer = match call {
            Call::Create { key } => self.create(object, key).await,
            Call::Part {
                key, upload, number, ..
            } => self.part(object, key, upload, *number, body).await,
            Call::Complete {
                key,
                upload,
                parts,
                bytes,
                crc32c,
            } => self.complete(object, key, upload, parts, *bytes, *crc32c).await,
            Call::Put { key, is_proof, .. } => self.put(object, key, body, *is_proof).await,
            Call::Abort { key, upload } => self.abort(object, key, upload).await,
        };
        answer.unwrap_or_else(|refusal| {
            Answer::Refused(Refusal {
                reason: refusal.reason,
                text: self.without_secrets(&format!("{}: {}", call.name(), refusal.text)),
            })
        })
    }

    async fn create(&self, object: &Object, key: &str) -> Result<Answer, Refusal> {
        let (sse, sse_key) = self.sse();
        let made = self
            .client
            .create_multipart_upload()
            .bucket(&object.bucket)
            .key(key)
            .content_type(object.content_type)
            .checksum_algorithm(ChecksumAlgorithm::Crc32C)
            .checksum_type(ChecksumType::FullObject)
            .set_server_side_encryption(sse)
            .set_ssekms_key_id(sse_key)
            .send()
            .await
            .map_err(|error| self.refusal(&error, false))?;
        match made.upload_id {
            Some(upload) if !upload.is_empty() => Ok(Answer::Created { upload }),
            _ => Err(wrong("the answer names no upload")),
        }
    }

    async fn part(
        &self,
        object: &Object,
        key: &str,
        upload: &str,
        number: u32,
        body: Body,
    ) -> Result<Answer, Refusal> {
        let taken = self
            .client
            .upload_part()
            .bucket(&object.bucket)
            .key(key)
            .upload_id(upload)
            .part_number(number as i32)
            .checksum_crc32_c(base64_of(body.crc32c))
            .body(ByteStream::from(body.bytes.clone()))
            .send()
            .await
            .map_err(|error| self.refusal(&error, false))?;
        let etag = taken.e_tag.unwrap_or_default();
        let holding = Holding {
            bucket: &object.bucket,
            sse: taken.server_side_encryption.as_ref(),
            etag: &etag,
            checksum: taken.checksum_crc32_c.as_deref(),
        };
        self.check(&holding, body.crc32c, &hex(&body.md5))?;
        if etag.is_empty() {
            return Err(wrong("the answer has no ETag"));
        }
        Ok(Answer::Part {
            etag,
            crc32c: body.crc32c,
        })
    }

    async fn complete(
        &self,
        object: &Object,
        key: &str,
        upload: &str,
        parts: &[SentPart],
        bytes: u64,
        crc32c: u32,
    ) -> Result<Answer, Refusal> {
        let part = |part: &SentPart| {
            CompletedPart::builder()
                .part_number(part.number as i32)
                .e_tag(&part.etag)
                .checksum_crc32_c(base64_of(part.crc32c))
                .build()
        };
        let list = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.iter().map(part).collect()))
            .build();
        let stored = self
            .client
            .complete_multipart_upload()
            .bucket(&object.bucket)
            .key(key)
            .upload_id(upload)
            .multipart_upload(list)
            .if_none_match("*")
            .checksum_type(ChecksumType::FullObject)
            .checksum_crc32_c(base64_of(crc32c))
            .mpu_object_size(bytes as i64)
            .send()
            .await
            .map_err(|error| self.refusal(&error, true))?;
        let etag = stored.e_tag.unwrap_or_default();
        let told = match stored.checksum_type {
            Some(ChecksumType::Composite) => None,
            _ => stored.checksum_crc32_c.as_deref(),
        };
        let holding = Holding {
            bucket: &object.bucket,
            sse: stored.server_side_encryption.as_ref(),
            etag: &etag,
            checksum: told,
        };
        self.check(&holding, crc32c, &multipart_etag(parts).unwrap_or_default())?;
        Ok(Answer::Stored { etag })
    }

    async fn put(&self, object: &Object, key: &str, body: Body, is_proof: bool) -> Result<Answer, Refusal> {
        let (sse, sse_key) = self.sse();
        let md5 = hex(&body.md5);
        let put = self
            .client
            .put_object()
            .bucket(&object.bucket)
            .key(key)
            .content_type(object.content_type)
            .checksum_crc32_c(base64_of(body.crc32c))
            .set_server_side_encryption(sse)
            .set_ssekms_key_id(sse_key)
            .body(ByteStream::from(body.bytes.clone()));
        let put = match is_proof {
            true => put.if_match(format!("\"{md5}\"")),
            false => put.if_none_match("*"),
        };
        let stored = put.send().await.map_err(|error| self.refusal(&error, false))?;
        let etag = stored.e_tag.unwrap_or_default();
        let holding = Holding {
            bucket: &object.bucket,
            sse: stored.server_side_encryption.as_ref(),
            etag: &etag,
            checksum: stored.checksum_crc32_c.as_deref(),
        };
        self.check(&holding, body.crc32c, &md5)?;
        Ok(Answer::Stored { etag })
    }

    async fn abort(&self, object: &Object, key: &str, upload: &str) -> Result<Answer, Refusal> {
        self.client
            .abort_multipart_upload()
            .bucket(&object.bucket)
            .key(key)
            .upload_id(upload)
            .send()
            .await
            .map(|_| Answer::Aborted)
            .map_err(|error| self.refusal(&error, false))
    }

    fn sse(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.encryption {
            Encryption::Bucket => (None, None),
            Encryption::Aes256 => (Some(ServerSideEncryption::Aes256), None),
            Encryption::Kms(key) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        }
    }

    /// Compares what the answer says of the bytes with what they are. A store that says nothing has at least taken the
    /// checksum that was sent along; an ETag of another make says nothing.
    fn check(&self, holding: &Holding<'_>, crc32c: u32, expected: &str) -> Result<(), Refusal> {
        // Encrypted otherwise than with the store's own keys, as the bucket may do by itself: it may look like an MD5.
        let is_opaque = holding
            .sse
            .is_some_and(|sse| *sse != ServerSideEncryption::Aes256);
        if is_opaque {
            self.encrypted.learn(holding.bucket);
        }
        let told = holding.checksum;
        if told.is_some_and(|told| told != base64_of(crc32c)) {
            return Err(wrong(
                "the store holds other bytes than were sent: its checksum differs",
            ));
        }
        let etag = holding.etag.trim_matches('"');
        let is_comparable = self.etag_is_md5 && !is_opaque && is_md5(expected) && is_md5(etag);
        if is_comparable && !etag.eq_ignore_ascii_case(expected) {
            return Err(wrong(
                "the store holds other bytes than were sent: its ETag differs",
            ));
        }
        Ok(())
    }

    fn refusal<E>(&self, error: &SdkError<E>, is_completion: bool) -> Refusal
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let is_unheard = self.credentials.as_ref().is_some_and(are_short);
        refusal(error, is_completion, is_unheard)
    }

    /// Stores repeat parts of a request in their messages.
    fn without_secrets(&self, text: &str) -> String {
        match &self.credentials {
            Some(credentials) => without(text, credentials),
            None => text.to_owned(),
        }
    }
}

/// Whether one of them would be found in messages that do not hold it: what is left out there would tell it.
fn are_short(credentials: &Credentials) -> bool {
    [credentials.secret(), credentials.key()]
        .iter()
        .any(|part| part.len() < TELLING_BYTES)
}

fn without(text: &str, credentials: &Credentials) -> String {
    let parts = [credentials.secret(), credentials.key()];
    let parts = parts.into_iter().filter(|part| part.len() >= TELLING_BYTES);
    parts.fold(text.to_owned(), |text, part| text.replace(part, "…"))
}

/// `None` when the parts' ETags are no MD5.
fn multipart_etag(parts: &[SentPart]) -> Option<String> {
    let mut all = Md5::new();
    for part in parts {
        let etag = part.etag.trim_matches('"');
        if etag.len() != 32 {
            return None;
        }
        for at in (0..32).step_by(2) {
            all.update([u8::from_str_radix(etag.get(at..at + 2)?, 16).ok()?]);
        }
    }
    Some(format!("{}-{}", hex(&all.finalize()), parts.len()))
}

/// 32 hexadecimal digits, and the number of parts where there were any.
fn is_md5(etag: &str) -> bool {
    let (digits, parts) = etag.split_once('-').unwrap_or((etag, "1"));
    digits.len() == 32
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && parts.bytes().all(|byte| byte.is_ascii_digit())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64_of(crc32c: u32) -> String {
    STANDARD.encode(crc32c.to_be_bytes())
}

fn wrong(text: &str) -> Refusal {
    Refusal {
        reason: Reason::WrongAnswer,
        text: text.to_owned(),
    }
}

/// `is_completion`: a complaint about the request is one about its parts. `is_unheard`: the store's own message is left
/// out.
fn refusal<E>(error: &SdkError<E>, is_completion: bool, is_unheard: bool) -> Refusal
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            let code = context.err().code().unwrap_or_default();
            let message = context
                .err()
                .message()
                .filter(|_| !is_unheard)
                .unwrap_or_default();
            Refusal {
                reason: reason_of(status, code, is_completion),
                text: said(status, code, message),
            }
        }
        SdkError::ResponseError(context) => {
            let status = context.raw().status().as_u16();
            Refusal {
                reason: match reason_of(status, "", is_completion) {
                    Reason::Other => Reason::Unanswered,
                    reason => reason,
                },
                text: said(status, "", "the answer cannot be read"),
            }
        }
        SdkError::ConstructionFailure(_) => Refusal {
            reason: Reason::Denied,
            text: format!("cannot be signed or sent: {}", causes(error)),
        },
        SdkError::DispatchFailure(failure) => Refusal {
            // Without an identity there is no connection to fail.
            reason: match failure.as_connector_error() {
                Some(connector) if connector.is_user() => Reason::Denied,
                Some(_) if is_unsent(error) => Reason::Unsent,
                _ => Reason::Unanswered,
            },
            text: format!("no answer from the store: {}", causes(error)),
        },
        _ => Refusal {
            reason: Reason::Unanswered,
            text: format!("no answer from the store: {}", causes(error)),
        },
    }
}

fn reason_of(status: u16, code: &str, is_completion: bool) -> Reason {
    match (status, code) {
        (_, "NoSuchUpload") => Reason::NoUpload,
        (_, "NoSuchBucket" | "PermanentRedirect" | "IllegalLocationConstraintException") | (301 | 307, _) => {
            Reason::NoBucket
        }
        (_, "NoSuchKey") => Reason::NoKey,
        (412, _) | (_, "PreconditionFailed") => Reason::Taken,
        (409, _) => Reason::Conflict,
        (
            _,
            "InvalidPart"
            | "InvalidPartOrder"
            | "EntityTooSmall"
            | "BadDigest"
            | "InvalidDigest"
            | "XAmzContentSHA256Mismatch"
            | "XAmzContentChecksumMismatch"
            | "IncompleteBody",
        ) => Reason::BadPart,
        (_, "SlowDown" | "ServiceUnavailable" | "RequestTimeout" | "ThrottlingException")
        | (503 | 429, _) => Reason::Busy,
        (401 | 403, _) | (_, "AuthorizationHeaderMalformed" | "ExpiredToken" | "InvalidToken") => {
            Reason::Denied
        }
        (_, "InternalError") | (500 | 502 | 504, _) => Reason::Internal,
        (400, "InvalidRequest" | "InvalidArgument") if is_completion => Reason::BadPart,
        (501, _) | (400, "InvalidRequest" | "InvalidArgument" | "NotImplemented") => Reason::Unsupported,
        _ => Reason::Other,
    }
}

fn said(status: u16, code: &str, message: &str) -> String {
    let message: String = message
        .chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_CHARACTERS_MAX)
        .collect();
    [format!("the store answered {status}"), code.to_owned(), message]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// An error and what is behind it, each once.
fn causes(error: &dyn StdError) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !said.iter().any(|earlier| earlier.contains(&text)) {
            said.push(text);
        }
        next = cause.source();
    }
    said.join(": ").chars().take(2 * MESSAGE_CHARACTERS_MAX).collect()
}

/// No connection was made.
fn is_unsent(error: &dyn StdError) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        let is_refused = cause.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::AddrNotAvailable
            )
        });
        if is_refused || cause.to_string().starts_with("dns error") {
            return true;
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::config::http::HttpResponse;
    use aws_sdk_s3::error::ErrorMetadata;
    use aws_sdk_s3::operation::put_object::PutObjectError;
    use aws_sdk_s3::primitives::SdkBody;

    /// What is passed on where a store says this.
    fn passed_on(credentials: &str, message: &str) -> String {
        let said = ErrorMetadata::builder().code("AccessDenied").message(message);
        let answer = HttpResponse::new(403_u16.try_into().expect("a status"), SdkBody::empty());
        let error = SdkError::service_error(PutObjectError::generic(said.build()), answer);
        let credentials = Credentials::parse(credentials).expect("well formed");
        without(
            &refusal(&error, false, are_short(&credentials)).text,
            &credentials,
        )
    }

    #[test]
    fn a_store_repeats_no_secret_and_what_is_left_out_tells_none() {
        let said = "the key AKIDEXAMPLE may not";
        for (credentials, expected) in [
            ("AKIDEXAMPLE:a-long-secret:eu", "AccessDenied the key … may not"),
            ("AKIDEXAMPLE:a:eu", "AccessDenied"),
            ("AKID:a-long-secret:eu", "AccessDenied"),
        ] {
            let text = passed_on(credentials, said);
            assert_eq!(
                text,
                format!("the store answered 403 {expected}"),
                "{credentials}"
            );
        }
    }
}
