//! A service account as the vendor's console hands it out: a JSON file with a private key.

use crate::StartError;
use crate::rsa_key::RsaKey;

/// A generated service account whose `token_uri` leads to a stand-in.
#[derive(Debug)]
pub struct ServiceAccount {
    project: String,
    email: String,
    key_id: String,
    key: RsaKey,
}

impl ServiceAccount {
    /// A new account of `project` with a fresh key.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(project: &str) -> Result<ServiceAccount, StartError> {
        let mut id = [0_u8; 20];
        getrandom::fill(&mut id).map_err(|_| StartError::Key("no randomness"))?;
        Ok(ServiceAccount {
            project: project.to_owned(),
            email: format!("push-sender@{project}.iam.gserviceaccount.com"),
            key_id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            key: RsaKey::generate()?,
        })
    }

    /// The account's e-mail form name: `iss` of its assertions.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// The Firebase project.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The key pair.
    pub fn key(&self) -> &RsaKey {
        &self.key
    }

    /// The file's text, with `token_uri` pointing at the stand-in.
    pub fn json(&self, token_uri: &str) -> String {
        serde_json::json!({
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": self.key_id,
            "private_key": self.key.private_pem(),
            "client_email": self.email,
            "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_uri,
            "universe_domain": "googleapis.com",
        })
        .to_string()
    }
}
