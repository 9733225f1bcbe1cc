//! What a person is asked before a provider's settings are used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ProvisionError;
use crate::diagnosis::one_line;
use crate::parameter::parameter;
use crate::source::Source;
use crate::store::Settings;

/// Whose settings these are, and what they set. Every text is fit for one line of a screen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Consent {
    /// The provider's server: what TLS vouches for.
    pub host: String,
    /// What the provider calls itself; nobody vouches for it.
    pub name: Option<String>,
    /// Parameters by name with their values; `None` is a secret.
    pub settings: BTreeMap<String, Option<String>>,
    /// What the provider wants to set and this phone does not take, with the reason.
    pub left_out: Vec<String>,
}

impl Consent {
    /// Of parameters with their values; a secret's may be missing.
    pub(super) fn of<'a>(
        host: String,
        name: Option<&str>,
        parameters: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Consent {
        let (mut given, mut shown) = (Settings::new(), BTreeMap::new());
        let mut left_out = Vec::new();
        for (name, value) in parameters {
            match (value, parameter(name)) {
                (Some(value), _) => drop(given.set(name, value, Source::Server)),
                (None, Some(known)) if known.is_secret() && !known.is_local() => {
                    shown.insert(known.name.to_owned(), None);
                }
                (None, Some(_) | None) => left_out.push(format!("{}: it is not shown", one_line(name))),
            }
        }
        for (name, _, value) in given.iter() {
            let secret = parameter(name).is_none_or(|known| known.is_secret());
            shown.insert(name.to_owned(), (!secret).then(|| one_line(value.expose())));
        }
        left_out.extend(given.diagnoses().iter().filter(|told| told.is_error()).map(ToString::to_string));
        Consent { host, name: name.filter(|name| !name.is_empty()).map(one_line), settings: shown, left_out }
    }

    /// From a provider's answer to the question what a code would set.
    pub(super) fn of_preview(host: String, body: &str) -> Result<Consent, ProvisionError> {
        let wrong = |what: &str| ProvisionError::Schema(what.to_owned());
        let Ok(Value::Object(object)) = serde_json::from_str(body) else {
            return Err(wrong("the preview is no JSON object"));
        };
        let name = object.get("name").and_then(Value::as_str);
        let Some(Value::Object(parameters)) = object.get("parameters") else {
            return Err(wrong("the preview has no parameters"));
        };
        let parameters = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Ok(Consent::of(host, name, parameters))
    }
}
