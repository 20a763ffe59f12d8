//! Hashes and checks passwords with argon2id, off the async threads and a few at a time.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::password_hash::{CustomizedPasswordHasher, PasswordVerifier, generate_salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::Semaphore;

use crate::config::PasswordConfig;
use crate::domain::account::Password;

/// Hashing failed: the parameters were refused or the thread died.
#[derive(Debug, thiserror::Error)]
#[error("hash a password: {0}")]
pub struct PasswordError(String);

/// The hasher. Each hash takes its whole memory cost, so no more run at once than there are cores.
#[derive(Debug, Clone)]
pub struct Passwords {
    hasher: Hasher,
    running: Arc<Semaphore>,
    decoy: Arc<str>,
}

impl Passwords {
    /// A hasher of this cost.
    ///
    /// # Errors
    /// When argon2 refuses the parameters.
    pub fn new(config: PasswordConfig) -> Result<Self, PasswordError> {
        let params = Params::new(config.memory_kib, config.iterations, 1, None)
            .map_err(|error| PasswordError(error.to_string()))?;
        let hasher = Hasher {
            params,
            memory: Arc::default(),
        };
        let decoy = hasher.hash(b"no account has this password")?.into();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            hasher,
            running: Arc::new(Semaphore::new(cores)),
            decoy,
        })
    }

    /// The PHC string of a password, with a fresh salt.
    ///
    /// # Errors
    /// When the hashing thread dies.
    pub async fn hash(&self, password: Password) -> Result<String, PasswordError> {
        let hasher = self.hasher.clone();
        self.on_a_thread(move || hasher.hash(password.as_bytes()))
            .await?
    }

    /// Whether the password belongs to the PHC string. Without one (an unknown user) a decoy is
    /// checked, so that the answer takes the same time.
    ///
    /// # Errors
    /// When the stored string is broken or the hashing thread dies.
    pub async fn verify(
        &self,
        password: Password,
        stored: Option<String>,
    ) -> Result<bool, PasswordError> {
        let hasher = self.hasher.clone();
        let known = stored.is_some();
        let text = stored.unwrap_or_else(|| self.decoy.to_string());
        self.on_a_thread(move || {
            let hash =
                PasswordHash::new(&text).map_err(|error| PasswordError(error.to_string()))?;
            Ok(hasher.verify_password(password.as_bytes(), &hash).is_ok() && known)
        })
        .await?
    }

    async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let permit = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|error| PasswordError(error.to_string()))?;
        let joined = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        joined
            .await
            .map_err(|error| PasswordError(error.to_string()))
    }
}

/// argon2id in memory that is kept between hashes: one piece for each that runs at once.
///
/// Freed memory would not go back: after the first such block glibc serves the next ones from the
/// arena of whichever thread asks, and keeps one hash's memory in each of them.
#[derive(Debug, Clone)]
struct Hasher {
    params: Params,
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
}

impl Hasher {
    fn hash(&self, password: &[u8]) -> Result<String, PasswordError> {
        self.hash_password_customized(password, &generate_salt(), None, None, self.params.clone())
            .map(|hash| hash.to_string())
            .map_err(|error| PasswordError(error.to_string()))
    }

    fn pieces(&self) -> std::sync::MutexGuard<'_, Vec<Vec<Block>>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// [`PasswordVerifier`] follows from this, with the parameters that the stored string names.
impl CustomizedPasswordHasher<PasswordHash> for Hasher {
    type Params = Params;

    fn hash_password_customized(
        &self,
        password: &[u8],
        salt: &[u8],
        algorithm: Option<&str>,
        version: Option<u32>,
        params: Params,
    ) -> argon2::password_hash::Result<PasswordHash> {
        let algorithm = algorithm.map_or(Ok(Algorithm::Argon2id), Algorithm::try_from)?;
        let version = version.map_or(Ok(Version::V0x13), Version::try_from)?;
        let mut blocks = self.pieces().pop().unwrap_or_default();
        // A string that was stored under another cost needs another size.
        blocks.resize(params.block_count(), Block::default());
        let argon2 = Argon2::new(algorithm, version, params.clone());
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        let result =
            argon2.hash_password_into_with_memory(password, salt, &mut output, &mut blocks);
        self.pieces().push(blocks);
        result?;
        Ok(PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: ParamsString::try_from(&params)?,
            salt: Some(Salt::new(salt)?),
            hash: Some(Output::new(&output)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> Passwords {
        Passwords::new(PasswordConfig {
            memory_kib: 8,
            iterations: 1,
        })
        .expect("the smallest valid cost")
    }

    fn password(text: &str) -> Password {
        Password::parse(text.to_owned()).expect("long enough")
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_passes() {
        let passwords = cheap();
        let stored = passwords
            .hash(password("correct horse"))
            .await
            .expect("hashes");
        assert!(stored.starts_with("$argon2id$"));
        assert!(
            passwords
                .verify(password("correct horse"), Some(stored.clone()))
                .await
                .expect("checks")
        );
        assert!(
            !passwords
                .verify(password("wrong horse"), Some(stored))
                .await
                .expect("checks")
        );
        let decoy = password("no account has this password");
        assert!(!passwords.verify(decoy, None).await.expect("checks"));
    }

    #[tokio::test]
    async fn the_same_password_never_has_the_same_hash() {
        let passwords = cheap();
        let first = passwords
            .hash(password("correct horse"))
            .await
            .expect("hashes");
        let second = passwords
            .hash(password("correct horse"))
            .await
            .expect("hashes");
        assert_ne!(first, second);
    }

    #[tokio::test]
    async fn hashes_reuse_their_memory_and_check_under_another_cost() {
        let passwords = cheap();
        let stored = passwords
            .hash(password("correct horse"))
            .await
            .expect("hashes");
        for memory_kib in [8, 64, 8] {
            let other = Passwords {
                hasher: Hasher {
                    params: Params::new(memory_kib, 2, 1, None).expect("valid"),
                    memory: Arc::clone(&passwords.hasher.memory),
                },
                ..passwords.clone()
            };
            let fresh = other.hash(password("wrong horse")).await.expect("hashes");
            let checks = |text: &str, stored: &str| {
                passwords.verify(password(text), Some(stored.to_owned()))
            };
            assert!(checks("wrong horse", &fresh).await.expect("checks"));
            assert!(checks("correct horse", &stored).await.expect("checks"));
            assert!(!checks("correct horse", &fresh).await.expect("checks"));
        }
        assert_eq!(passwords.hasher.pieces().len(), 1, "nothing ran at once");
    }
}
