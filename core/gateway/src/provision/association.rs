//! The files by which Android and iOS let the app open our links.

use serde_json::{Value, json};

use crate::config::{Android, Ios};

/// `/.well-known/assetlinks.json` (Digital Asset Links); `None` without an Android app.
pub(super) fn asset_links(android: &Android) -> Option<Value> {
    if android.package.is_empty() {
        return None;
    }
    let prints: Vec<String> = android.fingerprints.iter().map(|print| print.to_ascii_uppercase()).collect();
    Some(json!([{
        "relation": ["delegate_permission/common.handle_all_urls"],
        "target": {
            "namespace": "android_app",
            "package_name": android.package,
            "sha256_cert_fingerprints": prints,
        },
    }]))
}

/// `/.well-known/apple-app-site-association`; `None` without an iOS app.
pub(super) fn app_site(ios: &Ios) -> Option<Value> {
    if ios.app_ids.is_empty() {
        return None;
    }
    // The page with the QR code is for the screen that shows it, not for the app.
    let components = json!([{ "/": "/p/*/qr", "exclude": true }, { "/": "/p/*" }]);
    Some(json!({ "applinks": { "details": [{ "appIDs": ios.app_ids, "components": components }] } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_have_the_form_that_the_systems_ask_for() {
        let android = Android {
            package: "org.example.voice".to_owned(),
            fingerprints: vec![["ab"; 32].join(":")],
            store: String::new(),
        };
        let links = asset_links(&android).unwrap();
        assert_eq!(links[0]["relation"][0], "delegate_permission/common.handle_all_urls");
        assert_eq!(links[0]["target"]["sha256_cert_fingerprints"][0], ["AB"; 32].join(":"));
        let ios = Ios { app_ids: vec!["AB12CD34EF.org.example.voice".to_owned()], store: String::new() };
        let site = app_site(&ios).unwrap();
        assert_eq!(site["applinks"]["details"][0]["appIDs"][0], "AB12CD34EF.org.example.voice");
        assert_eq!(site["applinks"]["details"][0]["components"][1]["/"], "/p/*");
        assert!(asset_links(&Android::default()).is_none() && app_site(&Ios::default()).is_none());
    }
}
