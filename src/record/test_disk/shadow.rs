//! A disk in memory that knows what of it would outlive a loss of power, and can lose it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::record::disk::{Disk, DiskFile, Space};

/// What reaches a disk in one piece, or in an unlucky case only its first sectors.
const PAGE_BYTES: usize = 4_096;

const SECTOR_BYTES: usize = 512;

/// Clones are the same disk.
#[derive(Clone, Default)]
pub struct ShadowDisk(Arc<Mutex<Files>>);

#[derive(Default)]
struct Files {
    folders: BTreeSet<PathBuf>,
    /// As programs see them.
    seen: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    /// Names that would outlive a loss of power.
    safe: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
}

#[derive(Default, Clone)]
struct Content {
    seen: Vec<u8>,
    /// As of the last sync.
    safe: Vec<u8>,
}

struct ShadowFile(Arc<Mutex<Content>>);

impl ShadowDisk {
    /// The disk as it is found after the power was lost now. Of what was not synced, every name and every page of
    /// 4 KiB is there or not, or there in part, and a size may have come without its pages: as `random` has it.
    pub fn after_power_loss(&self, random: &mut fastrand::Rng) -> ShadowDisk {
        let files = lock(&self.0);
        let names: BTreeSet<&PathBuf> = files.seen.keys().chain(files.safe.keys()).collect();
        let mut found = Files {
            folders: files.folders.clone(),
            ..Files::default()
        };
        for path in names {
            let (seen, safe) = (files.seen.get(path), files.safe.get(path));
            let survivor = match (seen, safe) {
                (Some(seen), Some(safe)) if Arc::ptr_eq(seen, safe) => Some(seen),
                _ if random.bool() => seen,
                _ => safe,
            };
            if let Some(content) = survivor {
                let bytes = lock(content).after_power_loss(random);
                let content = Arc::new(Mutex::new(Content {
                    seen: bytes.clone(),
                    safe: bytes,
                }));
                found.seen.insert(path.clone(), content.clone());
                found.safe.insert(path.clone(), content);
            }
        }
        ShadowDisk(Arc::new(Mutex::new(found)))
    }

    /// Turns one bit of a file over, also of what is safe.
    pub fn flip(&self, path: &Path, bit: usize) {
        let files = lock(&self.0);
        let mut content = lock(&files.seen[path]);
        for bytes in [content.seen.len(), content.safe.len()] {
            assert!(bit / 8 < bytes, "the file is shorter");
        }
        content.seen[bit / 8] ^= 1 << (bit % 8);
        content.safe[bit / 8] ^= 1 << (bit % 8);
    }

    fn file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let files = lock(&self.0);
        let content = files.seen.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(ShadowFile(content.clone())))
    }
}

impl Content {
    fn after_power_loss(&self, random: &mut fastrand::Rng) -> Vec<u8> {
        let size = match self.seen.len() == self.safe.len() || random.bool() {
            true => self.safe.len(),
            false => {
                random.usize(self.seen.len().min(self.safe.len())..=self.seen.len().max(self.safe.len()))
            }
        };
        let size = if random.u8(..4) == 0 {
            self.seen.len()
        } else {
            size
        };
        let mut found = self.safe.clone();
        found.resize(size, 0);
        for start in (0..size.min(self.seen.len())).step_by(PAGE_BYTES) {
            let end = (start + PAGE_BYTES).min(size).min(self.seen.len());
            let end = match random.u8(..3) {
                0 => continue,
                1 => end,
                _ => end.min(start + SECTOR_BYTES * random.usize(1..8)),
            };
            found[start..end].copy_from_slice(&self.seen[start..end]);
        }
        // A bit of what no sync has promised.
        let unsafe_from = self.safe.len();
        if size > unsafe_from && random.u8(..4) == 0 {
            let at = random.usize(unsafe_from..size);
            found[at] ^= 1 << random.u8(..8);
        }
        found
    }
}

impl Disk for ShadowDisk {
    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space {
            available: 1 << 40,
            total: 1 << 40,
        })
    }

    fn create(&self, path: &Path, _: u32) -> io::Result<Box<dyn DiskFile>> {
        let mut files = lock(&self.0);
        if !path.parent().is_some_and(|parent| files.folders.contains(parent)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if files.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Arc::<Mutex<Content>>::default();
        files.seen.insert(path.to_owned(), content.clone());
        Ok(Box::new(ShadowFile(content)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(path)
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(path)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let mut files = lock(&self.0);
        files.folders.extend(folder.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let files = lock(&self.0);
        if !files.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let paths = files.seen.keys().chain(&files.folders);
        let inside = paths.filter(|path| path.parent() == Some(folder));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = lock(&self.0).seen.remove(path);
        removed.map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = lock(&self.0);
        let content = files.seen.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.seen.insert(to.to_owned(), content);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut files = lock(&self.0);
        let Files { seen, safe, .. } = &mut *files;
        safe.retain(|path, _| path.parent() != Some(folder));
        let inside = seen.iter().filter(|(path, _)| path.parent() == Some(folder));
        safe.extend(inside.map(|(path, content)| (path.clone(), content.clone())));
        Ok(())
    }
}

impl DiskFile for ShadowFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = lock(&self.0);
        let from = content
            .seen
            .len()
            .min(usize::try_from(offset).unwrap_or(usize::MAX));
        let read = bytes.len().min(content.seen.len() - from);
        bytes[..read].copy_from_slice(&content.seen[from..from + read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = lock(&self.0);
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if content.seen.len() < end {
            content.seen.resize(end, 0);
        }
        content.seen[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.0).seen.len() as u64)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        lock(&self.0).seen.resize(size as usize, 0);
        Ok(())
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let mut content = lock(&self.0);
        let size = content.seen.len().max(size as usize);
        content.seen.resize(size, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut content = lock(&self.0);
        content.safe = content.seen.clone();
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::disk::PRIVATE;

    #[test]
    fn what_was_synced_outlives_a_loss_of_power_and_the_rest_may_not() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..200 {
            let disk = ShadowDisk::default();
            let folder = Path::new("/spool");
            disk.create_folder(folder).unwrap();
            let file = disk.create(&folder.join("a"), PRIVATE).unwrap();
            file.write_at(&[1; 5_000], 0).unwrap();
            file.sync_data().unwrap();
            disk.sync_folder(folder).unwrap();
            file.write_at(&[2; 10_000], 5_000).unwrap();
            disk.create(&folder.join("b"), PRIVATE).unwrap();
            let found = disk.after_power_loss(&mut fastrand::Rng::with_seed(seed));
            let file = found.open(&folder.join("a")).expect("its name was synced");
            let mut bytes = vec![0; 20_000];
            let size = file.read_at(&mut bytes, 0).unwrap();
            assert_eq!(bytes[..5_000], [1; 5_000], "seed {seed}");
            assert!(size <= 15_000);
            let new = bytes[5_000..size].iter().filter(|&&byte| byte == 2).count();
            outcomes.insert((
                size > 5_000,
                new > 0,
                new == 10_000,
                found.names(folder).unwrap().len(),
            ));
        }
        for outcome in [
            (false, false, false, 1),
            (true, false, false, 2),
            (true, true, false, 1),
            (true, true, true, 2),
        ] {
            assert!(outcomes.contains(&outcome), "{outcome:?} never came");
        }
    }
}
