//! Everything between a growing file and the customer's bucket.
//!
//! ```text
//! image (growing) ─▶ Progress ─▶ deliver ─▶ plan ─▶ Call ─▶ s3 ─▶ object store
//!                                   └──▶ log (on the disk before the call, and after its answer)
//! ```
//!
//! [`Store::deliver`] takes one file and never fails: it tries until the object is there, and says meanwhile what is in
//! the way. Dropped and begun again with the same log, in this process or in another, it goes on where it was.
//! [`plan`] decides, without I/O; [`deliver`] carries out; [`s3`] knows the client library. Five calls are made and no
//! other: CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload, PutObject. So credentials
//! that allow PutObject and AbortMultipartUpload suffice.
//!
//! What cannot be closed from here: an upload that was made, and the machine lost before its id was on the disk. A
//! lifecycle rule of the bucket (AbortIncompleteMultipartUpload) removes such.

mod answer;
mod counters;
mod deliver;
mod lanes;
mod log;
mod plan;
mod retry;
mod s3;

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::credentials::Credentials;
pub use answer::Reason;
pub use counters::{Counters, Counts};
pub use retry::Tempo;

pub use super::image::PART_BYTES;

/// Deliveries wait on the network; little of it is work.
const THREADS: usize = 2;

/// One file that is to become one object.
#[derive(Debug, Clone)]
pub struct Object {
    pub bucket: String,
    /// Validated by `Destination`.
    pub key: String,
    /// Makes the name when the key is taken: `<name>~<recordingId>.<ext>`.
    pub recording_id: String,
    pub content_type: &'static str,
    /// Bytes in [`Progress::stable`] never change while the delivery runs.
    pub file: PathBuf,
    /// What the delivery must not forget; made where it is missing. The caller removes it, once delivered.
    pub log: PathBuf,
    /// `None`: those of the configuration.
    pub credentials: Option<Credentials>,
}

/// How far the file is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that never change any more.
    pub stable: Range<u64>,
    /// The file is as it will stay.
    pub finished: Option<Arc<Finished>>,
}

/// A whole file, as read in its last pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    pub bytes: u64,
    pub crc32c: u32,
    /// CRC-32C of each piece of [`PART_BYTES`], the last one shorter.
    pub parts: Vec<u32>,
}

/// The object is in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Where it is now: as asked for, or with `~<recordingId>`.
    pub key: String,
    /// As the store told it; empty where the answer was lost and the object proved ours otherwise.
    pub etag: String,
    /// The key asked for was another's.
    pub is_renamed: bool,
}

/// How a delivery goes, for the API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryStatus {
    /// Calls made.
    pub attempts: u64,
    /// A sentence for the operator while something is in the way; without secrets.
    pub error: Option<String>,
    /// Until the next try.
    pub next_try_in: Option<Duration>,
    /// Bytes of whole parts that the store has confirmed.
    pub bytes_up: u64,
    pub delivered: Option<Delivered>,
}

/// Where the object store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Amazon's own, by region.
    Amazon,
    /// `http[s]://host[:port]`
    Url(String),
}

/// What the store is asked to encrypt with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Encryption {
    /// Whatever the bucket does by itself.
    #[default]
    Bucket,
    Aes256,
    /// With a key's id, or the account's own key.
    Kms(Option<String>),
}

/// From the configuration.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    pub endpoint: Endpoint,
    /// Where the credentials name none.
    pub region: Option<String>,
    pub path_style: bool,
    pub encryption: Encryption,
    /// From `s3.credentials_file`. `None`: the SDK's chain.
    pub credentials: Option<Credentials>,
    pub tempo: Tempo,
}

/// The object store of this daemon. Made once; dropped, it leaves every delivery where it is.
pub struct Store {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

/// What all deliveries have in common.
struct Shared {
    clients: s3::Clients,
    settings: Mutex<StoreSettings>,
    lanes: lanes::Lanes,
    counters: Counters,
}

/// A delivery under way. Dropped, it stops where it is.
pub struct Delivery {
    task: AbortHandle,
    status: watch::Receiver<DeliveryStatus>,
}

impl Store {
    /// Starts the threads `record-upload`.
    pub fn start(settings: StoreSettings) -> io::Result<Store> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("record-upload")
            .enable_all()
            .build()?;
        Ok(Store {
            shared: Arc::new(Shared {
                clients: s3::Clients::default(),
                settings: Mutex::new(settings),
                lanes: lanes::Lanes::default(),
                counters: Counters::default(),
            }),
            runtime: Some(runtime),
        })
    }

    /// Delivers the file as it grows. `tell` hears each change of the status, on a thread of the store: it must only
    /// hand on.
    pub fn deliver(
        &self,
        object: Object,
        progress: watch::Receiver<Progress>,
        tell: impl Fn(&DeliveryStatus) + Send + Sync + 'static,
    ) -> Delivery {
        let (said, status) = watch::channel(DeliveryStatus::default());
        let shared = self.shared.clone();
        let tell = move |status: DeliveryStatus| {
            let is_new = said.send_if_modified(|said| {
                let is_new = *said != status;
                *said = status.clone();
                is_new
            });
            if is_new {
                tell(&status);
            }
        };
        let runtime = self.runtime.as_ref().expect("it is there until the drop");
        let task = runtime.spawn(async move {
            deliver::deliver_through_panics(&shared, object, progress, &tell).await;
        });
        Delivery {
            task: task.abort_handle(),
            status,
        }
    }

    /// Takes other credentials for what is still to be sent, as when the file was read again.
    pub fn set_credentials(&self, credentials: Option<Credentials>) {
        let mut settings = self
            .shared
            .settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        settings.credentials = credentials;
        self.shared.clients.forget();
    }

    pub fn counts(&self) -> Counts {
        self.shared.counters.read()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Delivery {
    pub fn status(&self) -> DeliveryStatus {
        self.status.borrow().clone()
    }

    /// `Some` once the object is in the bucket.
    pub fn delivered(&self) -> Option<Delivered> {
        self.status.borrow().delivered.clone()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StoreSettings {
    /// An object that went up in one call has the MD5 of its bytes for an ETag.
    fn etag_is_md5(&self) -> bool {
        !matches!(self.encryption, Encryption::Kms(_))
    }
}
