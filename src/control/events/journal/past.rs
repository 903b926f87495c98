//! What the daemon finds of its earlier lives when it starts.

use std::io;
use std::path::Path;

use super::life::{self, Last};
use super::segment::{self, Content};
use crate::control::events::ledger::Ledger;
use crate::control::events::log::Entry;
use crate::record::disk::Disk;

/// So far ahead numbers go where it is not sure which were given: more than can have been told without being safe, and
/// without the mark that something is. Where that is, they go as far as it says.
pub const SKIP: u64 = 1_000_000;

/// A file that is being made.
pub const UNFINISHED: &str = "unfinished";

#[derive(Debug)]
pub struct Past {
    pub ledger: Ledger,
    /// The newest events, oldest first.
    pub recent: Vec<Entry>,
    /// The first numbers of the segments there are, with their bytes, rising.
    pub segments: Vec<(u64, u64)>,
    /// Numbers have skipped ahead.
    pub has_skipped: bool,
    /// The first and the last of them; as far as is known no event ever had one.
    pub skipped: Option<(u64, u64)>,
}

/// Reads back the ledger and about as many events as memory keeps. What is damaged is told in the log and passed over.
pub fn read_past(disk: &dyn Disk, dir: &Path, boot: &str, keep: usize) -> io::Result<Past> {
    let names = match disk.names(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names?,
    };
    let mut firsts: Vec<u64> = names.iter().filter_map(|name| segment::first_of(name)).collect();
    firsts.sort_unstable();
    let mut segments = Vec::with_capacity(firsts.len());
    for first in &firsts {
        let bytes = disk
            .open(&dir.join(segment::name(*first)))
            .and_then(|file| file.size());
        segments.push((*first, bytes.unwrap_or(0)));
    }

    let mut contents: Vec<Content> = Vec::new();
    let (mut has_ledger, mut count) = (false, 0);
    for first in firsts.iter().rev() {
        if has_ledger && count >= keep {
            break;
        }
        let content = read_segment(disk, dir, *first);
        has_ledger |= content.snapshot.is_some();
        count += content.entries.len();
        contents.push(content);
    }
    contents.reverse();

    let (mut ledger, is_sure) = replay(&contents, firsts.last().copied());
    let last = life::last(disk, dir, boot);
    let is_first = last == Last::None && firsts.is_empty();
    let has_skipped = !(is_first || is_sure && last == Last::Sure);
    let told_to = match last {
        Last::Unsure(told_to) => told_to,
        Last::None | Last::Sure => 0,
    };
    let skip = SKIP.max(told_to.saturating_sub(ledger.newest));
    let skipped = has_skipped.then_some((ledger.newest + 1, ledger.newest + skip));
    if has_skipped {
        tracing::warn!(
            newest = ledger.newest,
            skipped = skip,
            "which events were told last is not sure: their numbers skip ahead"
        );
        ledger.skip(skip);
    }
    let mut recent: Vec<Entry> = Vec::new();
    for entry in contents.into_iter().flat_map(|content| content.entries) {
        if recent.last().is_none_or(|last| last.global < entry.global) {
            recent.push(entry);
        }
    }
    Ok(Past {
        ledger,
        recent,
        segments,
        has_skipped,
        skipped,
    })
}

/// The ledger after the last of the segments, the newest of which begins with the number `newest_first`; and whether it
/// is sure that nothing is missing in it.
fn replay(contents: &[Content], newest_first: Option<u64>) -> (Ledger, bool) {
    let base = contents.iter().rposition(|content| content.snapshot.is_some());
    let mut ledger = base
        .and_then(|base| contents[base].snapshot.clone())
        .unwrap_or_default();
    let first = base.unwrap_or(0);
    let mut is_sure = base.is_some() || newest_first.is_none();
    for (index, content) in contents.iter().enumerate().skip(first) {
        is_sure &= !content.is_damaged && (index == first || content.snapshot.is_some());
        for entry in &content.entries {
            if entry.global > ledger.newest {
                is_sure &= entry.global == ledger.newest + 1;
                ledger.note(entry);
            }
        }
    }
    ledger.newest = ledger.newest.max(newest_first.map_or(0, |first| first - 1));
    if !is_sure {
        // No room has had more events than there were in all.
        ledger.floor = ledger.newest;
    }
    (ledger, is_sure)
}

fn read_segment(disk: &dyn Disk, dir: &Path, first: u64) -> Content {
    let path = dir.join(segment::name(first));
    let read = disk.open(&path).and_then(|file| {
        let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(0)];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    });
    let content = match read {
        Ok(bytes) => segment::read(&bytes),
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "a part of the journal of events cannot be read");
            Content {
                is_damaged: true,
                ..Content::default()
            }
        }
    };
    if content.is_damaged {
        tracing::error!(
            path = %path.display(),
            events = content.entries.len(),
            "a part of the journal of events is damaged: what can be read of it is taken"
        );
    }
    content
}
