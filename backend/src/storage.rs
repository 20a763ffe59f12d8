//! Objects in S3. The SDK and its quirks end here.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::config::StorageConfig;

/// Time for one try of one operation; bodies are at most a few MiB.
const TRY_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What S3 can answer instead of success.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no such object.
    #[error("find object {key}")]
    Missing {
        /// Its key.
        key: String,
    },
    /// No answer, or one that says to come again.
    #[error("{operation} object {key}")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// The object.
        key: String,
        /// What happened.
        #[source]
        source: Cause,
    },
    /// An answer that a retry would get again.
    #[error("{operation} object {key}")]
    Rejected {
        /// What was tried.
        operation: &'static str,
        /// The object.
        key: String,
        /// What happened.
        #[source]
        source: Cause,
    },
}

impl StorageError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// One bucket.
#[derive(Debug, Clone)]
pub struct Storage {
    client: Client,
    bucket: String,
    presign_ttl: Duration,
}

impl Storage {
    /// Builds the client; no connection is made yet.
    pub async fn new(config: &StorageConfig) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(region) = &config.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(given) = &config.credentials {
            loader = loader.credentials_provider(Credentials::new(
                given.access_key_id.clone(),
                given.secret_access_key.clone(),
                given.session_token.clone(),
                None,
                "environment",
            ));
        }
        if let Some(url) = &config.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(TRY_TIMEOUT)
            .build();
        // Retries belong to the callers, who know their budget.
        let sdk = loader
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .load()
            .await;
        let settings = aws_sdk_s3::config::Builder::from(&sdk)
            .force_path_style(config.force_path_style)
            // The SHA-256 of every body is known and sent; a second checksum would turn each
            // upload into an aws-chunked stream, which not every S3 understands.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Self {
            client: Client::from_conf(settings),
            bucket: config.bucket.clone(),
            presign_ttl: config.presign_ttl,
        }
    }

    /// Stores a file from its beginning; S3 refuses it when its SHA-256 is not the given one.
    ///
    /// # Errors
    /// When S3 does not take it.
    pub async fn put_file(
        &self,
        key: &str,
        file: std::fs::File,
        size_bytes: u64,
        sha256: &[u8; 32],
    ) -> Result<(), StorageError> {
        let unreadable = |source: Cause| StorageError::Rejected {
            operation: "read",
            key: key.to_owned(),
            source,
        };
        let body = ByteStream::read_from()
            .file(tokio::fs::File::from_std(file))
            .buffer_size(64 * 1024)
            .length(aws_sdk_s3::primitives::Length::Exact(size_bytes))
            .build()
            .await
            .map_err(|error| unreadable(error.into()))?;
        self.put(key, body, sha256).await
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// When S3 does not take them.
    pub async fn put_bytes(
        &self,
        key: &str,
        bytes: Bytes,
        sha256: &[u8; 32],
    ) -> Result<(), StorageError> {
        self.put(key, ByteStream::from(bytes), sha256).await
    }

    async fn put(
        &self,
        key: &str,
        body: ByteStream,
        sha256: &[u8; 32],
    ) -> Result<(), StorageError> {
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type("application/pdf")
            .checksum_sha256(STANDARD.encode(sha256))
            .body(body);
        request
            .send()
            .await
            .map(|_| ())
            .map_err(|error| failure("store", key, error))
    }

    /// Opens an object for reading in pieces.
    ///
    /// # Errors
    /// When it is not there or S3 does not answer.
    pub async fn get(&self, key: &str) -> Result<ByteStream, StorageError> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        request
            .send()
            .await
            .map(|object| object.body)
            .map_err(|error| failure("read", key, error))
    }

    /// Deletes an object; one that is gone already counts as deleted.
    ///
    /// # Errors
    /// When S3 does not answer.
    pub async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let request = self.client.delete_object().bucket(&self.bucket).key(key);
        match request
            .send()
            .await
            .map_err(|error| failure("delete", key, error))
        {
            Ok(_) | Err(StorageError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A link that lets its holder download the object under a name, for a while. Computed locally.
    ///
    /// # Errors
    /// When no credentials are found to sign with.
    pub async fn presigned_url(&self, key: &str, file_name: &str) -> Result<String, StorageError> {
        let unavailable = |source: Cause| StorageError::Unavailable {
            operation: "presign",
            key: key.to_owned(),
            source,
        };
        let config = PresigningConfig::expires_in(self.presign_ttl)
            .map_err(|error| unavailable(error.into()))?;
        let ascii: String = file_name
            .chars()
            .map(|c| {
                if c.is_ascii_graphic() || c == ' ' {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .response_content_type("application/pdf")
            .response_content_disposition(format!(
                "attachment; filename=\"{}\"",
                ascii.replace(['"', '\\'], "_")
            ));
        let presigned = request
            .presigned(config)
            .await
            .map_err(|error| unavailable(error.into()))?;
        Ok(presigned.uri().to_owned())
    }

    /// Whether the bucket answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StorageError> {
        let request = self.client.head_bucket().bucket(&self.bucket);
        request
            .send()
            .await
            .map(|_| ())
            .map_err(|error| failure("find", "of the bucket itself", error))
    }
}

fn failure<E>(
    operation: &'static str,
    key: &str,
    error: SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
) -> StorageError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let key = key.to_owned();
    let status = error
        .raw_response()
        .map(|response| response.status().as_u16());
    match status {
        Some(404) if error.code() != Some("NoSuchBucket") => StorageError::Missing { key },
        // 429 and 503 SlowDown mean later; every other 4xx will be the same next time.
        Some(status) if (400..500).contains(&status) && status != 408 && status != 429 => {
            StorageError::Rejected {
                operation,
                key,
                source: error.into(),
            }
        }
        _ => StorageError::Unavailable {
            operation,
            key,
            source: error.into(),
        },
    }
}
