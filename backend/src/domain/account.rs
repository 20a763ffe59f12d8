//! What counts as an email address and as a password.

use serde::Serialize;

/// A rule that an email address or a password breaks.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AccountError {
    /// Not an address.
    #[error("email must be an address like name@example.com of at most 254 characters")]
    Email,
    /// Too short or too long.
    #[error("password must have 8 to 256 bytes")]
    Password,
}

/// An email address in lower case, so that it identifies one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::Type, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Email, example = "ana@example.com")]
#[sqlx(transparent)]
pub struct Email(String);

impl Email {
    /// Accepts what has one `@` between a name and a domain with a dot or `localhost`; only mail
    /// that arrives would prove more. 254 is the limit of RFC 5321.
    ///
    /// # Errors
    /// [`AccountError::Email`] for anything else.
    pub fn parse(text: &str) -> Result<Self, AccountError> {
        let email = text.trim().to_lowercase();
        let plain = email
            .chars()
            .all(|character| !character.is_whitespace() && !character.is_control());
        match email.split_once('@') {
            Some((name, domain))
                if plain
                    && email.len() <= 254
                    && !name.is_empty()
                    && !domain.contains('@')
                    && !domain.starts_with('.')
                    && !domain.ends_with('.')
                    && (domain.contains('.') || domain == "localhost") =>
            {
                Ok(Self(email))
            }
            _ => Err(AccountError::Email),
        }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A password on its way to be hashed; it is in no log because it has no `Display` and a mute `Debug`.
pub struct Password(String);

impl Password {
    /// Accepts 8 to 256 bytes of anything (NIST SP 800-63B asks for no composition rules).
    ///
    /// # Errors
    /// [`AccountError::Password`] for other lengths.
    pub fn parse(text: String) -> Result<Self, AccountError> {
        if (8..=256).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(AccountError::Password)
        }
    }

    /// The bytes to hash.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_lowered_and_trimmed() {
        let email = Email::parse("  Ana.B@Example.COM ").expect("an address");
        assert_eq!(email.as_str(), "ana.b@example.com");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "", "a", "@b.c", "a@", "a@b", "a@b@c.d", "a b@c.d", "a@.c", "a@c.", "a\n@c.d",
        ] {
            assert_eq!(Email::parse(text), Err(AccountError::Email), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_an_address_again_changes_nothing(text in ".{0,40}@[a-zA-Z]{1,9}\\.[a-z]{2,3}") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert_eq!(Email::parse(email.as_str()), Ok(email.clone()));
            }
        }
    }
}
