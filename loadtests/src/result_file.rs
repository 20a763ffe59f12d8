//! Results on disk and in S3: written whole or not at all.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use tempfile::NamedTempFile;

/// How addresses in S3 begin.
const S3: &str = "s3://";

/// A result that is being written. Whoever reads its file finds the old text or the new one, never a part of either. A
/// link is followed, and a device or a pipe is written to: neither is replaced by a file.
#[derive(Debug)]
pub enum ResultFile {
    /// A file beside its place, until it is complete.
    Beside {
        /// What is written.
        file: NamedTempFile,
        /// Its place.
        target: PathBuf,
    },
    /// What stands there and is no file.
    Through(File),
}

impl ResultFile {
    /// Begins the result that shall stand at `path`.
    ///
    /// # Errors
    /// When the folder is not there or cannot be written to, or the path is a folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if std::fs::metadata(&target).is_ok_and(|target| !target.is_file()) {
            return File::options().write(true).open(&target).map(Self::Through);
        }
        let folder = target
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        // A folder that is not there is named as it was written, not as the temporary file in it.
        std::fs::metadata(folder)?;
        let file = tempfile::Builder::new()
            // A result to hand on, not a secret: the umask decides, as for any other file.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        Ok(Self::Beside { file, target })
    }

    /// Puts the complete result in its place.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn finish(self) -> io::Result<()> {
        let Self::Beside { file, target } = self else {
            return Ok(());
        };
        // Some file systems say only now that there is no room.
        file.as_file().sync_all()?;
        file.persist(target).map_err(|failed| failed.error)?;
        Ok(())
    }
}

impl Write for ResultFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Beside { file, .. } => file.write(bytes),
            Self::Through(open) => open.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Beside { file, .. } => file.flush(),
            Self::Through(open) => open.flush(),
        }
    }
}

/// Writes a result whole: a disk that fills leaves the last one that fitted.
///
/// # Errors
/// As [`ResultFile`]'s, with the path.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    ResultFile::create(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.finish()
        })
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Writes to `s3://BUCKET/KEY`.
///
/// # Errors
/// When the address is none or S3 refuses.
pub async fn upload(address: &str, text: &str) -> Result<()> {
    let (bucket, key) = object(address)?;
    client()
        .await
        .put_object()
        .bucket(bucket)
        .key(key)
        .content_type("application/json")
        .body(text.as_bytes().to_vec().into())
        .send()
        .await
        .map_err(|error| anyhow::anyhow!("{}", DisplayErrorContext(error)))
        .with_context(|| format!("write {address}"))?;
    Ok(())
}

/// Refuses an address that [`upload`] could not write to, before there is anything to write.
///
/// # Errors
/// When it is not `s3://BUCKET/KEY`.
pub fn check_address(address: &str) -> Result<()> {
    object(address).map(|_| ())
}

/// The texts that `source` names, each with its own address: a file, an object, or every `.json` object
/// below a prefix that ends in a slash.
///
/// # Errors
/// When one cannot be read, or there is none below a prefix.
pub async fn read_all(source: &str) -> Result<Vec<(String, String)>> {
    if !source.starts_with(S3) {
        let text = crate::input_file::read_text(Path::new(source))
            .with_context(|| format!("read {source}"))?;
        return Ok(vec![(source.to_owned(), text)]);
    }
    let (bucket, key) = split(source)?;
    let client = client().await;
    let keys = if key.is_empty() || key.ends_with('/') {
        list(&client, bucket, key)
            .await
            .with_context(|| format!("list {source}"))?
    } else {
        vec![key.to_owned()]
    };
    if keys.is_empty() {
        bail!("read {source}: there is no object below it whose name ends in .json");
    }
    let mut texts = Vec::new();
    for key in keys {
        let address = format!("{S3}{bucket}/{key}");
        let text = get(&client, bucket, &key)
            .await
            .with_context(|| format!("read {address}"))?;
        texts.push((address, text));
    }
    Ok(texts)
}

async fn get(client: &Client, bucket: &str, key: &str) -> Result<String> {
    let object = client
        .get_object()
        .bucket(bucket)
        .key(key)
        .send()
        .await
        .map_err(|error| anyhow::anyhow!("{}", DisplayErrorContext(error)))?;
    let bytes = object.body.collect().await.context("download it")?;
    String::from_utf8(bytes.to_vec()).context("read it as text")
}

async fn list(client: &Client, bucket: &str, prefix: &str) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    let mut pages = client
        .list_objects_v2()
        .bucket(bucket)
        .prefix(prefix)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| anyhow::anyhow!("{}", DisplayErrorContext(error)))?;
        let names = page.contents().iter().filter_map(|object| object.key());
        keys.extend(
            names
                .filter(|name| name.ends_with(".json"))
                .map(str::to_owned),
        );
    }
    Ok(keys)
}

/// Bucket and key of one object's address.
fn object(address: &str) -> Result<(&str, &str)> {
    let (bucket, key) = split(address)?;
    if key.is_empty() || key.ends_with('/') {
        bail!(
            "write {address}: a name for the object is missing, such as {S3}{bucket}/result-1.json"
        );
    }
    Ok((bucket, key))
}

/// Bucket and key of an address.
fn split(address: &str) -> Result<(&str, &str)> {
    let rest = address.strip_prefix(S3).unwrap_or_default();
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        bail!("use {address} as an address in S3: write {S3}BUCKET/KEY");
    }
    Ok((bucket, key))
}

/// A client with the credentials and the endpoint that the SDK finds: the environment's, or the task's.
async fn client() -> Client {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let mut builder = aws_sdk_s3::config::Builder::from(&config);
    // The services of tests are addressed by path; AWS takes both.
    builder.set_force_path_style(Some(config.endpoint_url().is_some()));
    Client::from_conf(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_failure_leaves_the_old_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("result.json");
        write(&path, "old").expect("a writable folder");
        write(&path, "new").expect("a writable folder");
        assert_eq!(std::fs::read_to_string(&path).expect("written"), "new");
        let nowhere = folder.path().join("missing/result.json");
        let error = write(&nowhere, "text")
            .expect_err("no such folder")
            .to_string();
        assert!(error.contains("missing/result.json"), "{error}");
        let left = std::fs::read_dir(folder.path()).expect("readable").count();
        assert_eq!(left, 1, "nothing half written stays");
    }

    #[test]
    fn what_is_no_file_is_not_replaced_by_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("result.json");
        let link = folder.path().join("latest.json");
        std::os::unix::fs::symlink(&file, &link).expect("a writable folder");
        std::fs::write(&file, "old").expect("a writable folder");
        write(&link, "new").expect("a writable folder");
        assert_eq!(std::fs::read_to_string(&file).expect("written"), "new");
        assert!(link.is_symlink());
        let full = folder.path().join("full");
        std::os::unix::fs::symlink("/dev/full", &full).expect("a writable folder");
        let error = write(&full, "text").expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(full.is_symlink());
        let error = write(folder.path(), "text").expect_err("a folder");
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn addresses_are_cut_into_bucket_and_key() {
        assert_eq!(
            split("s3://bucket/a/b.json").expect("valid"),
            ("bucket", "a/b.json")
        );
        assert_eq!(split("s3://bucket").expect("valid"), ("bucket", ""));
        assert!(split("s3:///key").is_err());
        check_address("s3://bucket/a.json").expect("valid");
        for wrong in ["http://bucket/a.json", "s3://bucket", "s3://bucket/folder/"] {
            assert!(check_address(wrong).is_err(), "{wrong}");
        }
    }
}
