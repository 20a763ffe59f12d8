//! One S3 endpoint: its credentials, its buckets, and the in-process server of the native provider.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// The region that requests are signed for.
pub(crate) const REGION: &str = "us-east-1";

/// Where S3 is, and as whom to call it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct S3Access {
    pub(crate) endpoint: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

/// An S3 endpoint with a client for it.
#[derive(Debug)]
pub(crate) struct S3Server {
    access: S3Access,
    name: String,
    client: Client,
    /// Of the server in this process; `None` when the endpoint serves all processes of a run.
    own: Option<InProcessS3>,
}

/// S3 refused, with the whole chain of causes in words: SDK errors are generic over the operation.
#[derive(Debug, thiserror::Error)]
#[error("{step} bucket {bucket}: {reason}")]
pub struct BucketError {
    step: &'static str,
    bucket: String,
    reason: String,
}

impl S3Server {
    /// An endpoint that serves all processes of a run.
    pub(crate) fn shared(access: S3Access, name: String) -> S3Server {
        S3Server::new(access, name, None)
    }

    /// A server in this process, on a folder.
    pub(crate) fn in_process(server: InProcessS3, name: String) -> S3Server {
        S3Server::new(server.access.clone(), name, Some(server))
    }

    fn new(access: S3Access, name: String, own: Option<InProcessS3>) -> S3Server {
        let credentials = Credentials::new(
            &access.access_key_id,
            &access.secret_access_key,
            None,
            None,
            "harness",
        );
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&access.endpoint)
            .region(Region::new(REGION))
            .credentials_provider(credentials)
            // A name in front of 127.0.0.1 does not resolve.
            .force_path_style(true)
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .build();
        S3Server {
            access,
            name,
            client: Client::from_conf(config),
            own,
        }
    }

    /// Do other processes see the same buckets?
    pub(crate) fn is_shared(&self) -> bool {
        self.own.is_none()
    }

    pub(crate) fn access(&self) -> &S3Access {
        &self.access
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn create_bucket(&self, bucket: &str) -> Result<(), BucketError> {
        if let Some(own) = &self.own {
            // A bucket of s3s-fs is a folder.
            let created = tokio::fs::create_dir(own.folder.join(bucket)).await;
            return created.map_err(|error| failed("create", bucket, &error));
        }
        let created = self.client.create_bucket().bucket(bucket).send().await;
        created
            .map(drop)
            .map_err(|error| failed("create", bucket, &error))
    }

    /// Creates a bucket unless it is there.
    pub(crate) async fn create_bucket_unless_there(&self, bucket: &str) -> Result<(), BucketError> {
        let there = self.client.head_bucket().bucket(bucket).send().await;
        if there.is_ok() {
            return Ok(());
        }
        self.create_bucket(bucket).await
    }

    /// Does it answer?
    pub(crate) async fn ask(&self) -> Result<(), BucketError> {
        let answer = self.client.list_buckets().send().await;
        answer
            .map(drop)
            .map_err(|error| failed("list", "of any name", &error))
    }

    /// Deletes the objects of a bucket, then the bucket.
    pub(crate) async fn delete_bucket(&self, bucket: &str) -> Result<(), BucketError> {
        loop {
            let page = self.client.list_objects_v2().bucket(bucket).send().await;
            let page = page.map_err(|error| failed("list", bucket, &error))?;
            let keys: Vec<ObjectIdentifier> = page
                .contents()
                .iter()
                .filter_map(|object| ObjectIdentifier::builder().key(object.key()?).build().ok())
                .collect();
            if keys.is_empty() {
                break;
            }
            let delete = Delete::builder()
                .set_objects(Some(keys))
                .quiet(true)
                .build();
            let delete = delete.map_err(|error| failed("empty", bucket, &error))?;
            let deleted = self
                .client
                .delete_objects()
                .bucket(bucket)
                .delete(delete)
                .send()
                .await;
            deleted.map_err(|error| failed("empty", bucket, &error))?;
        }
        let deleted = self.client.delete_bucket().bucket(bucket).send().await;
        deleted
            .map(drop)
            .map_err(|error| failed("delete", bucket, &error))
    }
}

fn failed<E: std::error::Error>(step: &'static str, bucket: &str, error: &E) -> BucketError {
    BucketError {
        step,
        bucket: bucket.to_owned(),
        reason: DisplayErrorContext(error).to_string(),
    }
}

/// Why the in-process server did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum S3StartError {
    /// Its folder cannot be used.
    #[error("open the folder of the S3 server: {0}")]
    Folder(String),
    /// No port.
    #[error("bind a port for the S3 server")]
    Bind(#[source] std::io::Error),
}

/// An S3 server in this process, on the files of a folder; ends when dropped.
#[derive(Debug)]
pub(crate) struct InProcessS3 {
    accept: JoinHandle<()>,
    access: S3Access,
    folder: PathBuf,
}

impl InProcessS3 {
    /// Serves the files of a folder on a port, or on any free one when the port is 0.
    pub(crate) async fn start(
        folder: &Path,
        port: u16,
        access_key_id: String,
        secret_access_key: String,
    ) -> Result<InProcessS3, S3StartError> {
        // s3s-fs's error type is private and does not implement Error.
        let files =
            FileSystem::new(folder).map_err(|error| S3StartError::Folder(format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(
            access_key_id.clone(),
            secret_access_key.clone(),
        ));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(S3StartError::Bind)?;
        let port = listener.local_addr().map_err(S3StartError::Bind)?.port();
        let accept = tokio::spawn(accept(listener, builder.build()));
        let endpoint = format!("http://127.0.0.1:{port}");
        let access = S3Access {
            endpoint,
            access_key_id,
            secret_access_key,
        };
        Ok(InProcessS3 {
            accept,
            access,
            folder: folder.to_owned(),
        })
    }
}

impl Drop for InProcessS3 {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Serves until aborted; the connections end with it.
async fn accept(listener: TcpListener, service: S3Service) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    socket.set_nodelay(true).ok();
                    let service = service.clone();
                    connections.spawn(async move {
                        let http = Builder::new(TokioExecutor::new());
                        let served = http.serve_connection(TokioIo::new(socket), service).await;
                        if let Err(error) = served {
                            tracing::debug!(error, "an S3 connection ended early");
                        }
                    });
                }
                Err(error) => {
                    // Out of descriptors: the next ones may be luckier, in a while.
                    tracing::warn!(%error, "the S3 server cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
