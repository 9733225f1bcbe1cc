//! Passwords at rest: sealed with a key that lies in a file of its own.
//!
//! A gateway that registers at a PBX for its accounts must be able to read their passwords. Neither the configuration nor
//! the store holds one in clear: they hold `v1.NONCE‖CIPHERTEXT‖TAG` (ChaCha20-Poly1305, RFC 8439), bound to the account
//! that it is for. Whoever gets hold of a backup without the key file has nothing.

use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use wakeline_secret::Secret;

/// What every sealed password begins with.
const VERSION: &str = "v1.";
/// Hex digits of the key.
const KEY_DIGITS: usize = 64;

/// Why a password cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key file cannot be read or made.
    #[error(
        "vault.key_file: {path}: {source}; `wakeline gateway --config FILE --seal USER@DOMAIN` makes one"
    )]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("vault.key_file: {path} may be read by others; `chmod 600 {path}`")]
    Open {
        /// Which.
        path: String,
    },
    /// It holds no key.
    #[error("vault.key_file: {path} does not hold 64 hex digits; was it cut, or is it another file?")]
    Key {
        /// Which.
        path: String,
    },
    /// Sealed with another key, for another account, or damaged.
    #[error(
        "account {account}: its sealed password does not open: another key file, another account, or damaged; seal it anew"
    )]
    Sealed {
        /// Whose.
        account: String,
    },
    /// The system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(String),
}

/// The key at work.
pub struct Vault(LessSafeKey);

impl core::fmt::Debug for Vault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Vault(..)")
    }
}

impl Vault {
    /// Reads the key file.
    ///
    /// # Errors
    /// When it is not there, holds no key, or may be read by others than its owner.
    pub fn open(path: &Path) -> Result<Vault, VaultError> {
        let named = || path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| VaultError::File { path: named(), source })?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(path)
                .map_err(|source| VaultError::File { path: named(), source })?
                .permissions()
                .mode();
            if mode & 0o077 != 0 {
                return Err(VaultError::Open { path: named() });
            }
        }
        let digits: Vec<u8> = text
            .trim()
            .chars()
            .map_while(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        if digits.len() != KEY_DIGITS || text.trim().len() != KEY_DIGITS {
            return Err(VaultError::Key { path: named() });
        }
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        let key =
            UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| VaultError::Key { path: named() })?;
        Ok(Vault(LessSafeKey::new(key)))
    }

    /// Reads the key file, or makes one that only its owner may read.
    ///
    /// # Errors
    /// As [`Vault::open`], and when it cannot be written.
    pub fn open_or_make(path: &Path) -> Result<Vault, VaultError> {
        if path.exists() {
            return Vault::open(path);
        }
        let mut key = [0_u8; KEY_DIGITS / 2];
        getrandom::fill(&mut key).map_err(|error| VaultError::Randomness(error.to_string()))?;
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
            .open(path)
            .and_then(|mut file| writeln!(file, "{digits}").and_then(|()| file.sync_all()))
            .map_err(|source| VaultError::File { path: path.display().to_string(), source })?;
        Vault::open(path)
    }

    /// Seals a password for one account, `user@domain`.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn seal(&self, account: &str, password: &Secret) -> Result<String, VaultError> {
        let mut nonce = [0_u8; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| VaultError::Randomness(error.to_string()))?;
        let mut sealed = password.expose().as_bytes().to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound_to(account), &mut sealed)
            .map_err(|_| VaultError::Randomness("the password is too long".to_owned()))?;
        Ok(format!("{VERSION}{}", URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())))
    }

    /// The password of one account.
    ///
    /// # Errors
    /// When it was not sealed with this key for this account.
    pub fn unseal(&self, account: &str, sealed: &str) -> Result<Secret, VaultError> {
        let wrong = || VaultError::Sealed { account: account.to_owned() };
        let text = sealed.strip_prefix(VERSION).ok_or_else(wrong)?;
        let mut bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN).ok_or_else(wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let clear = self.0.open_in_place(nonce, bound_to(account), sealed).map_err(|_| wrong())?;
        let password = core::str::from_utf8(clear).map(Secret::from).map_err(|_| wrong());
        bytes.fill(0);
        password
    }
}

fn bound_to(account: &str) -> Aad<String> {
    Aad::from(format!("wakeline upstream password\0{}", account.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_file() -> std::path::PathBuf {
        let mut name = [0_u8; 8];
        getrandom::fill(&mut name).unwrap();
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        std::env::temp_dir().join(format!("wakeline-vault-{name}"))
    }

    #[test]
    fn a_sealed_password_opens_for_its_account_and_key_only() {
        let (path, other) = (key_file(), key_file());
        let vault = Vault::open_or_make(&path).unwrap();
        let sealed = vault.seal("mia@pbx.example.org", &Secret::from("open sesame")).unwrap();
        assert!(!sealed.contains("sesame") && sealed.starts_with("v1."));
        assert_ne!(sealed, vault.seal("mia@pbx.example.org", &Secret::from("open sesame")).unwrap());
        // The same file once more, as after a restart.
        let again = Vault::open_or_make(&path).unwrap();
        assert_eq!(again.unseal("mia@PBX.example.org", &sealed).unwrap().expose(), "open sesame");
        assert!(again.unseal("ben@pbx.example.org", &sealed).is_err());
        assert!(Vault::open_or_make(&other).unwrap().unseal("mia@pbx.example.org", &sealed).is_err());
        for damaged in ["", "v1.", "v1.AAAA", &sealed[..sealed.len() - 2], &sealed.replace("v1.", "v2.")] {
            assert!(again.unseal("mia@pbx.example.org", damaged).is_err(), "{damaged}");
        }
        for path in [path, other] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn s23_a_key_file_that_others_may_read_is_refused_and_nothing_shows_a_password() {
        let path = key_file();
        let vault = Vault::open_or_make(&path).unwrap();
        assert_eq!(format!("{vault:?}"), "Vault(..)");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(Vault::open(&path), Err(VaultError::Open { .. })));
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        std::fs::write(&path, "not a key").unwrap();
        let error = Vault::open(&path).unwrap_err();
        assert!(matches!(error, VaultError::Key { .. }) && !error.to_string().contains("not a key"));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Vault::open(&path), Err(VaultError::File { .. })));
    }
}
