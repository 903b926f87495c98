//! One recording on its way to an object store: its files as they grow, then its receipt. The store carries each file;
//! here is what they have to do with each other.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::credentials::Credentials;
use super::destination::Names;
use super::image::Finished;
use super::note::Opening;
use super::receipt::{self, Receipt, TrackReceipt};
use super::rendering::{Piece, Rendering};
use super::spool::destination;
use super::store::{self, Delivery, DeliveryStatus, Object, Progress, Store};
use crate::id::TrackNumber;

/// Among the tracks, the number of the receipt: no leg has it.
const RECEIPT: u32 = u32::MAX;

/// Hears that something has changed: an error, `None` when nothing is in the way any more; and to look again.
pub type Heard = Arc<dyn Fn(Option<String>) + Send + Sync>;

pub struct Consignment {
    store: Arc<Store>,
    opening: Opening,
    bucket: String,
    folder: PathBuf,
    credentials: Option<Credentials>,
    heard: Heard,
    parcels: BTreeMap<u32, Parcel>,
    /// What is in the way of each.
    hindrances: Arc<Mutex<BTreeMap<u32, String>>>,
    /// Once the files are whole: without the keys, which the store decides.
    receipt: Option<(Receipt, BTreeMap<u32, TrackReceipt>)>,
}

/// One object.
struct Parcel {
    progress: watch::Sender<Progress>,
    delivery: Delivery,
}

impl Consignment {
    /// Of the recording whose spool folder this is; its credentials, if it was given any, lie there.
    pub fn new(
        store: Arc<Store>,
        opening: Opening,
        bucket: String,
        folder: &Path,
        heard: Heard,
    ) -> io::Result<Consignment> {
        let credentials = Credentials::kept(folder)?;
        if opening.has_credentials && credentials.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the credentials that the recording was given are not in its folder",
            ));
        }
        Ok(Consignment {
            store,
            opening,
            bucket,
            folder: folder.to_owned(),
            credentials,
            heard,
            parcels: BTreeMap::new(),
            hindrances: Arc::default(),
            receipt: None,
        })
    }

    /// Lets go of what of the files will not change any more.
    pub fn grow(&mut self, rendering: &Rendering) {
        self.send(TrackNumber::MAIN.0, rendering.main(), rendering);
        for (number, piece) in rendering.legs() {
            self.send(number, piece, rendering);
        }
    }

    /// The files are whole, as their last pass has read them.
    pub fn finish(&mut self, rendering: &Rendering) {
        self.grow(rendering);
        let key = self.opening.key();
        let receipt = rendering.receipt(&key, destination(Some(&self.bucket), &key));
        let tracks = rendering
            .legs()
            .filter_map(|(number, _)| Some((number, rendering.track_receipt(number, String::new())?)))
            .collect();
        self.receipt = Some((receipt, tracks));
    }

    /// Whether who ordered the recording wants to hear of its end.
    pub fn notifies(&self) -> bool {
        self.opening.notifies
    }

    /// The recording's folder in the spool.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is known of the recording before the store has taken it.
    pub fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref().map(|(receipt, _)| receipt)
    }

    /// Goes on after something was heard: once every file is delivered the receipt is sent after them. Gives it when it
    /// has arrived as well.
    pub fn step(&mut self) -> io::Result<Option<Receipt>> {
        let Some((receipt, tracks)) = &self.receipt else {
            return Ok(None);
        };
        let delivered_key = |number: u32| {
            let parcel = self.parcels.get(&number)?;
            Some(parcel.delivery.delivered()?.key)
        };
        let Some(key) = delivered_key(TrackNumber::MAIN.0) else {
            return Ok(None);
        };
        let mut receipt = receipt.clone();
        for (number, track) in tracks {
            let Some(key) = delivered_key(*number) else {
                return Ok(None);
            };
            receipt.tracks.push(TrackReceipt { key, ..track.clone() });
        }
        if key != self.opening.key() {
            receipt.requested_key = Some(self.opening.key());
        }
        receipt.destination = destination(Some(&self.bucket), &key);
        receipt.key = key;
        if self.parcels.contains_key(&RECEIPT) {
            return Ok(delivered_key(RECEIPT).map(|key| {
                receipt.receipt_key = (key != self.receipt_key(&receipt)).then_some(key);
                receipt
            }));
        }
        self.send_receipt(&receipt)?;
        Ok(None)
    }

    /// What its receipt is to be called.
    fn receipt_key(&self, receipt: &Receipt) -> String {
        let stem = receipt.key.strip_suffix(&self.opening.ending);
        format!("{}.json", stem.unwrap_or(&receipt.key))
    }

    fn send_receipt(&mut self, receipt: &Receipt) -> io::Result<()> {
        let path = self.folder.join("receipt.json");
        // What an earlier run has written may lack what the store has said since.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        receipt::write_new(&path, receipt)?;
        let finished = super::image::finished(&path)?;
        let key = self.receipt_key(receipt);
        let progress = whole(&finished);
        let object = self.object("receipt", path, key, "application/json");
        self.dispatch(RECEIPT, object, progress);
        Ok(())
    }

    fn send(&mut self, number: u32, piece: &Piece, rendering: &Rendering) {
        let progress = match &piece.finished {
            Some(finished) => whole(finished),
            None => Progress {
                stable: {
                    let (first, end) = piece.stable();
                    first..end.max(first)
                },
                finished: None,
            },
        };
        match self.parcels.get(&number) {
            Some(parcel) => {
                parcel.progress.send_if_modified(|before| {
                    let is_news = *before != progress;
                    *before = progress;
                    is_news
                });
            }
            None => {
                let (name, key) = match number {
                    0 => ("mix".to_owned(), self.opening.key()),
                    number => (number.to_string(), self.key_of_track(number, rendering)),
                };
                let content_type = self
                    .opening
                    .format
                    .parse()
                    .map_or("application/octet-stream", super::image::Format::content_type);
                let object = self.object(&name, piece.path.clone(), key, content_type);
                self.dispatch(number, object, progress);
            }
        }
    }

    fn object(&self, name: &str, file: PathBuf, key: String, content_type: &'static str) -> Object {
        Object {
            bucket: self.bucket.clone(),
            key,
            recording_id: self.opening.recording_id.clone(),
            content_type,
            file,
            log: self.folder.join(format!("{name}.delivery")),
            credentials: self.credentials.clone(),
        }
    }

    fn dispatch(&mut self, number: u32, object: Object, progress: Progress) {
        let (sender, receiver) = watch::channel(progress);
        let (heard, hindrances) = (self.heard.clone(), self.hindrances.clone());
        let key = object.key.clone();
        let tell = move |status: &DeliveryStatus| {
            let hindrance = {
                let mut hindrances = hindrances.lock().unwrap_or_else(PoisonError::into_inner);
                match &status.error {
                    Some(error) => hindrances.insert(number, format!("{key}: {error}")),
                    None => hindrances.remove(&number),
                };
                hindrances.values().next().cloned()
            };
            heard(hindrance);
        };
        let delivery = self.store.deliver(object, receiver, tell);
        let parcel = Parcel {
            progress: sender,
            delivery,
        };
        self.parcels.insert(number, parcel);
    }

    /// Of a leg's track. It counts when the track's delivery begins.
    fn key_of_track(&self, number: u32, rendering: &Rendering) -> String {
        let names: Names = self.opening.names();
        // Two calls may be spelled alike once they are safe in a name.
        let mut taken: Vec<String> = Vec::new();
        let mut key = String::new();
        for (other, _) in rendering.legs() {
            key = names.track(&rendering.call_of(other), |key| {
                taken.iter().any(|taken| taken == key)
            });
            if other == number {
                break;
            }
            taken.push(key.clone());
        }
        key
    }
}

fn whole(finished: &Finished) -> Progress {
    Progress {
        stable: 0..finished.bytes,
        finished: Some(Arc::new(store::Finished {
            bytes: finished.bytes,
            crc32c: finished.crc32c,
            parts: finished.parts.clone(),
        })),
    }
}
