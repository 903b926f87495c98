//! An object store in the process, for the demo and for tests: s3s-fs on a loopback port, so that signatures, part
//! sizes and `If-None-Match` are checked as a store would, and objects are files that anybody can look at.
//!
//! It answers the five calls that recordings need and refuses every other, as a bucket does whose credentials allow no
//! more. Beyond s3s-fs it compares checksums and sizes with what was sent, and knows an upload that is gone.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumType, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, PutObjectInput,
    PutObjectOutput, UploadPartInput, UploadPartOutput,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Runs until it is dropped.
pub struct ObjectStore {
    address: SocketAddr,
    dir: PathBuf,
    runtime: Option<Runtime>,
}

impl ObjectStore {
    /// Serves the buckets below `dir` to whoever signs with this key and secret, on any free port of 127.0.0.1.
    pub fn start(dir: &Path, key: &str, secret: &str) -> io::Result<ObjectStore> {
        fs::create_dir_all(dir)?;
        let files = FileSystem::new(dir).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut service = S3ServiceBuilder::new(UploadsOnly {
            files,
            dir: dir.to_owned(),
        });
        service.set_auth(SimpleAuth::from_single(key, secret));
        let service = service.build();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("object-store")
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        runtime.spawn(serve(listener, service));
        Ok(ObjectStore {
            address,
            dir: dir.to_owned(),
            runtime: Some(runtime),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For `s3.endpoint`, with `s3.allow_http` and `s3.path_style`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn make_bucket(&self, bucket: &str) -> io::Result<()> {
        fs::create_dir_all(self.dir.join(bucket))
    }

    /// The file that is the object.
    pub fn object(&self, bucket: &str, key: &str) -> PathBuf {
        self.dir.join(bucket).join(key)
    }

    /// The keys in a bucket, in order.
    pub fn keys(&self, bucket: &str) -> io::Result<Vec<String>> {
        let root = self.dir.join(bucket);
        let mut keys = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => keys.extend(path.strip_prefix(&root).ok().map(|key| key.display().to_string())),
                }
            }
        }
        keys.sort();
        Ok(keys)
    }

    /// Uploads that were made, and neither completed nor aborted.
    pub fn open_uploads(&self) -> io::Result<usize> {
        let is_upload = |name: &str| name.starts_with(".upload") && name.ends_with(".json");
        let names = fs::read_dir(&self.dir)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| is_upload(name)).count())
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: TcpListener, service: S3Service) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
        tokio::spawn(async move {
            // A client that goes away in the middle is its own affair.
            let _ = connection.await;
        });
    }
}

struct UploadsOnly {
    files: FileSystem,
    dir: PathBuf,
}

impl UploadsOnly {
    /// s3s-fs makes a bucket of any name that it is told.
    fn bucket(&self, bucket: &str) -> S3Result<()> {
        match self.dir.join(bucket).is_dir() {
            true => Ok(()),
            false => Err(s3_error!(NoSuchBucket, "The bucket does not exist")),
        }
    }

    fn upload(&self, upload: &str) -> S3Result<()> {
        let is_open =
            Uuid::parse_str(upload).is_ok() && self.dir.join(format!(".upload-{upload}.json")).exists();
        match is_open {
            true => Ok(()),
            false => Err(s3_error!(NoSuchUpload, "The upload does not exist")),
        }
    }

    fn part(&self, upload: &str, number: i32) -> PathBuf {
        self.dir.join(format!(".upload_id-{upload}.part-{number}"))
    }

    /// What Amazon checks before it makes an object of parts.
    fn check(&self, input: &CompleteMultipartUploadInput) -> S3Result<()> {
        let (mut whole, mut bytes) = (Digest::new(CrcAlgorithm::Crc32Iscsi), 0);
        let parts = input
            .multipart_upload
            .iter()
            .flat_map(|upload| upload.parts.iter().flatten());
        for part in parts {
            let path = self.part(&input.upload_id, part.part_number.unwrap_or_default());
            let sound = fs::read(path).map_err(|_| s3_error!(InvalidPart, "There is no such part"))?;
            if part
                .checksum_crc32c
                .as_ref()
                .is_some_and(|told| *told != crc32c(&sound))
            {
                return Err(s3_error!(InvalidPart, "A part has another checksum"));
            }
            bytes += sound.len() as i64;
            whole.update(&sound);
        }
        if input.mpu_object_size.is_some_and(|told| told != bytes) {
            return Err(s3_error!(
                InvalidRequest,
                "The parts are not of the object's size"
            ));
        }
        let whole = base64_of(whole.finalize() as u32);
        if input.checksum_crc32c.as_ref().is_some_and(|told| *told != whole) {
            return Err(s3_error!(BadDigest, "The object has another checksum"));
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl S3 for UploadsOnly {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.bucket(&request.input.bucket)?;
        self.files.put_object(request).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.bucket(&request.input.bucket)?;
        self.files.create_multipart_upload(request).await
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.upload(&request.input.upload_id)?;
        let told = request.input.checksum_crc32c.clone();
        let part = self.part(&request.input.upload_id, request.input.part_number);
        let mut taken = self.files.upload_part(request).await.map_err(no_such_upload)?;
        let held = crc32c(&fs::read(&part).map_err(|error| s3_error!(error, InternalError))?);
        if told.is_some_and(|told| told != held) {
            let _ = fs::remove_file(&part);
            return Err(s3_error!(BadDigest, "The part has another checksum"));
        }
        taken.output.checksum_crc32c = Some(held);
        Ok(taken)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let whole = request.input.checksum_crc32c.clone();
        self.upload(&request.input.upload_id)?;
        self.check(&request.input)?;
        let mut stored = self
            .files
            .complete_multipart_upload(request)
            .await
            .map_err(no_such_upload)?;
        if let Some(output) = stored.output.future.take() {
            stored.output = output.await?;
        }
        stored.output.checksum_crc32c = whole;
        stored.output.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
        Ok(stored)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.files
            .abort_multipart_upload(request)
            .await
            .map_err(no_such_upload)
    }
}

/// s3s-fs says of an upload it does not know that it may not be touched.
fn no_such_upload(error: S3Error) -> S3Error {
    match error.code() {
        S3ErrorCode::AccessDenied => s3_error!(NoSuchUpload, "The upload does not exist"),
        _ => error,
    }
}

fn crc32c(bytes: &[u8]) -> String {
    base64_of(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32)
}

fn base64_of(crc32c: u32) -> String {
    STANDARD.encode(crc32c.to_be_bytes())
}
