//! Hashes and checks passwords with argon2id, off the async threads and a few at a time.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
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
    argon2: Argon2<'static>,
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
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash_now(&argon2, b"no account has this password")?.into();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            argon2,
            running: Arc::new(Semaphore::new(cores)),
            decoy,
        })
    }

    /// The PHC string of a password, with a fresh salt.
    ///
    /// # Errors
    /// When the hashing thread dies.
    pub async fn hash(&self, password: Password) -> Result<String, PasswordError> {
        let argon2 = self.argon2.clone();
        self.on_a_thread(move || hash_now(&argon2, password.as_bytes()))
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
        let argon2 = self.argon2.clone();
        let known = stored.is_some();
        let text = stored.unwrap_or_else(|| self.decoy.to_string());
        self.on_a_thread(move || {
            let hash =
                PasswordHash::new(&text).map_err(|error| PasswordError(error.to_string()))?;
            Ok(argon2.verify_password(password.as_bytes(), &hash).is_ok() && known)
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

fn hash_now(argon2: &Argon2<'_>, password: &[u8]) -> Result<String, PasswordError> {
    argon2
        .hash_password(password)
        .map(|hash| hash.to_string())
        .map_err(|error| PasswordError(error.to_string()))
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
}
