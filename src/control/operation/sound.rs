//! The sound of a recording, read no faster than whoever asked takes it.

use std::io::{Read, Seek, SeekFrom};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::control::blocking::{self, Failed};
use crate::control::refusal::Refusal;
use crate::record::Audio;

const CHUNK_BYTES: usize = 64 * 1024;
/// When it is worth asking again, in seconds.
const RETRY_S: u32 = 5;
/// Chunks read ahead of a slow client.
const CHUNKS_AHEAD: usize = 4;

/// Reads `length` bytes from `first` on, on a thread that may block.
pub async fn chunks(
    audio: Audio,
    first: u64,
    length: u64,
) -> Result<mpsc::Receiver<std::io::Result<Bytes>>, Refusal> {
    let mut file = audio.file;
    let at = blocking::wait_for(move || file.seek(SeekFrom::Start(first)).map(|_| file));
    let file = match at.await {
        Ok(Ok(file)) => file,
        Err(Failed::NoThread) => {
            return Err(Refusal::unavailable("No thread can be had to read it.", RETRY_S));
        }
        Ok(Err(_)) | Err(Failed::Lost) => return Err(Refusal::not_found("The recording's file is gone.")),
    };
    let (chunks, taken) = mpsc::channel(CHUNKS_AHEAD);
    tokio::spawn(async move {
        let mut file = Some(file);
        let mut left = length;
        while left > 0 {
            let Some(mut reading) = file.take() else { break };
            let wanted = left.min(CHUNK_BYTES as u64) as usize;
            let read = blocking::in_the_end(move || {
                let mut chunk = vec![0; wanted];
                reading.read_exact(&mut chunk).map(|()| (reading, chunk))
            });
            let sent = match read.await.map_err(std::io::Error::other).flatten() {
                Ok((reading, chunk)) => {
                    file = Some(reading);
                    left -= chunk.len() as u64;
                    chunks.send(Ok(chunk.into())).await
                }
                Err(error) => chunks.send(Err(error)).await,
            };
            if sent.is_err() {
                break;
            }
        }
    });
    Ok(taken)
}
