//! What a plan writes into the log, and is told of again when it is made anew.

use serde::{Deserialize, Serialize};

/// What must not be forgotten; one record of the delivery log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// An upload exists. `at_s`: seconds of the wall clock since 1970.
    Created {
        key: String,
        upload: String,
        at_s: u64,
    },
    /// The store holds a part of the upload.
    Part {
        number: u32,
        etag: String,
        crc32c: u32,
    },
    /// What is about to be sent makes an object of these bytes.
    Whole {
        bytes: u64,
        crc32c: u32,
    },
    /// The completion is about to be sent.
    Completing,
    /// The whole object is about to be sent.
    Putting,
    /// The store refused what was about to be sent: nothing came of it.
    Refused,
    /// The key is another's; this is the next one. An upload to the old key is to be aborted.
    Renamed {
        key: String,
    },
    /// The upload is of no more use, and to be aborted.
    Dropped,
    /// The store knows the upload no more.
    Lost,
    Aborted {
        upload: String,
    },
    Delivered {
        key: String,
        etag: String,
    },
}

/// A whole file, to be told from another that was made of the same sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    pub bytes: u64,
    pub crc32c: u32,
}
