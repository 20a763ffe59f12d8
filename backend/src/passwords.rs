//! Hashes and checks passwords with argon2id, off the async threads and a few at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::password_hash::{CustomizedPasswordHasher, PasswordVerifier, generate_salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::Semaphore;

use crate::config::PasswordConfig;
use crate::domain::account::Password;

/// How long memory is kept for the next hash: logins come in bursts, and a service that nobody logs in
/// to should not hold it.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// glibc maps what is larger than this on its own and gives it back when it is freed, whatever was
/// freed before (`DEFAULT_MMAP_THRESHOLD_MAX`, mallopt(3)). Room that is not used takes no memory.
const OWN_MAPPING_BYTES: usize = 32 << 20;

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
        let decoy = hasher.decoy()?.into();
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
        let result = joined.await;
        tokio::spawn(self.hasher.clone().forget_unless_used());
        result.map_err(|error| PasswordError(error.to_string()))
    }
}

/// argon2id in memory that is kept for a while between hashes: one piece for each that runs at once.
///
/// Without [`OWN_MAPPING_BYTES`] freed memory would not go back: after the first such block glibc serves
/// the next ones from the arena of whichever thread asks, and keeps one hash's memory in each of them.
#[derive(Debug, Clone)]
struct Hasher {
    params: Params,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    pieces: Vec<Vec<Block>>,
    /// Hashes so far.
    hashes: u64,
}

impl Hasher {
    fn hash(&self, password: &[u8]) -> Result<String, PasswordError> {
        self.hash_password_customized(password, &generate_salt(), None, None, self.params.clone())
            .map(|hash| hash.to_string())
            .map_err(|error| PasswordError(error.to_string()))
    }

    /// A string as a password's, of the same cost, that no password belongs to: its hash is drawn and
    /// not computed, which would take a hash's time and memory of every start.
    fn decoy(&self) -> Result<String, PasswordError> {
        let refused = |error: &dyn std::fmt::Display| PasswordError(error.to_string());
        let output: [u8; Params::DEFAULT_OUTPUT_LEN] = rand::random();
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.params).map_err(|error| refused(&error))?,
            salt: Some(Salt::new(&generate_salt()).map_err(|error| refused(&error))?),
            hash: Some(Output::new(&output).map_err(|error| refused(&error))?),
        };
        Ok(hash.to_string())
    }

    /// Frees the kept memory after a while in which nothing was hashed.
    async fn forget_unless_used(self) {
        let hashes = self.memory().hashes;
        tokio::time::sleep(KEPT_FOR).await;
        self.forget_since(hashes);
    }

    /// Frees the kept memory when there was no hash after so many.
    fn forget_since(&self, hashes: u64) {
        let mut memory = self.memory();
        if memory.hashes == hashes {
            memory.pieces = Vec::new();
        }
    }

    /// Memory of one hash.
    fn piece(&self, blocks: usize) -> Vec<Block> {
        let kept = self.memory().pieces.pop();
        let mut piece = kept.unwrap_or_else(|| {
            Vec::with_capacity(blocks.max(OWN_MAPPING_BYTES / size_of::<Block>() + 1))
        });
        // A string that was stored under another cost needs another size.
        piece.resize(blocks, Block::default());
        piece
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
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
        let mut blocks = self.piece(params.block_count());
        let argon2 = Argon2::new(algorithm, version, params.clone());
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        let result =
            argon2.hash_password_into_with_memory(password, salt, &mut output, &mut blocks);
        let mut memory = self.memory();
        memory.hashes += 1;
        memory.pieces.push(blocks);
        drop(memory);
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
        assert_eq!(
            passwords.hasher.memory().pieces.len(),
            1,
            "nothing ran at once"
        );
    }

    #[tokio::test]
    async fn memory_is_freed_when_nobody_hashes_any_more() {
        let passwords = cheap();
        let hasher = &passwords.hasher;
        let kept = || hasher.memory().pieces.len();
        assert_eq!(kept(), 0, "a start hashes nothing");
        for hashes in [1, 2] {
            let hash = passwords.hash(password("correct horse")).await;
            hash.expect("hashes");
            assert_eq!((kept(), hasher.memory().hashes), (1, hashes));
        }
        hasher.forget_since(1);
        assert_eq!(kept(), 1, "it was used again since");
        hasher.forget_since(2);
        assert_eq!(kept(), 0);
    }
}
